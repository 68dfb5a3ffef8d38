"""Texts as they are read aloud, before they are normalised: ``builtin`` classes or NeMo's text processing.

    spoken_form("Dr. Smith paid $5 in 1990", "builtin").text     # "doctor Smith paid five dollars in nineteen ninety"

A text with Chinese characters is read as Mandarin, one whose letters are mostly Latin as English; of another, nothing
is read. A sentence of English in capitals throughout is read as in print, its readings in capitals too. What no class
reads is named (`SpokenForm.unread`): `text2token` leaves it as text, and where everything must be said, it is spelt out
(`SpokenForm.spelt_out`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import regex

from runtime.errors import UserError

from .abbreviations import ends_sentence
from .capitals import in_print
from .english_readings import spell_english
from .mandarin_readings import spell_mandarin
from .semantic_classes import Range, SpokenForm, read_classes
from .spoken_english import ENGLISH
from .spoken_mandarin import MANDARIN

NORMALISERS = ("builtin", "nemo", "none")
MAX_LENGTH = 5000  # characters; what is longer is no span that a model could read, and rules may take long over it
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
FULL_WIDTH = re.compile(
    "[\uff05\uff0b-\uff0d\uff10-\uff1a\uff5e\uffe5]"
)  # figures and marks as Chinese texts have them
OTHER_LETTERS = regex.compile(r"[\p{L}--\p{Latin}]", regex.V1)
LATIN_LETTERS = regex.compile(r"\p{Latin}")


def spoken_form(text: str, normaliser: str) -> SpokenForm:
    """The text with numbers, dates, amounts, units and abbreviations in words, and what is unread.

    Args:
        text: any; one of more than `MAX_LENGTH` characters comes back as it is.
        normaliser: one of `NORMALISERS`; only builtin names what is unread.

    Raises:
        UserError: ``nemo`` without its package.
    """
    if normaliser == "none" or len(text) > MAX_LENGTH:
        return SpokenForm(text, spelt_out=text)
    is_mandarin = HAN.search(text) is not None or (FULL_WIDTH.search(text) and not LATIN_LETTERS.search(text))
    if normaliser == "nemo":
        said = str(_nemo("zh" if is_mandarin else "en").normalize(text, verbose=False))
        return SpokenForm(said, spelt_out=said)
    if is_mandarin:
        return read_classes(text, MANDARIN, spell_mandarin, ends_sentence)
    if not text.isascii() and len(OTHER_LETTERS.findall(text)) > len(LATIN_LETTERS.findall(text)):
        return read_classes(text, (), str, ends_sentence)
    form = read_classes(text, ENGLISH, spell_english, ends_sentence, in_print)
    return SpokenForm(_spaced(form.text), form.unread, _spaced(form.spelt_out), form.claimed)


def in_words(text: str) -> str:
    """A text of any length in words by the builtin classes; case and marks are kept, unread tokens are spelt out."""
    lines = (spoken_form(text[start:end], "builtin").spelt_out for start, end in _stretches(text))
    return " ".join(filter(None, lines))


def reading_units(text: str) -> SpokenForm:
    """Ranges that are read as one and unread tokens of a text of any length, by the builtin classes; no text is made.

    The text is read in stretches between line breaks, as `spoken_form` would.
    """
    unread: list[Range] = []
    claimed: list[Range] = []
    for start, end in _stretches(text):
        form = spoken_form(text[start:end], "builtin")
        unread += [Range(start + one.start, start + one.end) for one in form.unread]
        claimed += [Range(start + one.start, start + one.end) for one in form.claimed]
    return SpokenForm("", tuple(unread), "", tuple(claimed))


def _stretches(text: str) -> Iterator[Range]:
    """Lines of a text, long ones cut at spaces."""
    at = 0
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        if end - at > MAX_LENGTH:
            end = text.rfind(" ", at, at + MAX_LENGTH) + 1 or at + MAX_LENGTH
        yield Range(at, end)
        at = end


def _spaced(text: str) -> str:
    return re.sub(r"[ \t]{2,}", " ", text).strip()


@lru_cache(maxsize=2)
def _nemo(language: str) -> Any:
    try:
        from nemo_text_processing.text_normalization.normalize import Normalizer
    except ImportError as error:
        remedy = "pip install nemo_text_processing (it needs pynini: Linux, or conda), or set normaliser=builtin"
        raise UserError("normaliser=nemo", found=f"no NeMo text processing here ({error})", remedy=remedy) from error
    return Normalizer(input_case="cased", lang=language)
