"""Texts as they are read aloud, before they are normalised: ``builtin`` rules or NeMo's text processing.

    spoken_form("Dr. Smith paid $5 in 1990", "builtin")     # "doctor Smith paid five dollars in nineteen ninety"

A text with Chinese characters is read as Mandarin, any other as English.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from runtime.errors import UserError

from .spoken_english import read_english
from .spoken_mandarin import read_mandarin

NORMALISERS = ("builtin", "nemo", "none")
MAX_LENGTH = 5000  # characters; what is longer is no span that a model could read, and rules may take long over it
HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")


def spoken_form(text: str, normaliser: str) -> str:
    """The text with numbers, dates, amounts, units and abbreviations in words.

    Args:
        text: any; one of more than `MAX_LENGTH` characters comes back as it is.
        normaliser: one of `NORMALISERS`.

    Raises:
        UserError: ``nemo`` without its package.
    """
    if normaliser == "none" or len(text) > MAX_LENGTH:
        return text
    is_mandarin = HAN.search(text) is not None
    if normaliser == "nemo":
        return str(_nemo("zh" if is_mandarin else "en").normalize(text, verbose=False))
    return read_mandarin(text) if is_mandarin else read_english(text)


@lru_cache(maxsize=2)
def _nemo(language: str) -> Any:
    try:
        from nemo_text_processing.text_normalization.normalize import Normalizer
    except ImportError as error:
        remedy = "pip install nemo_text_processing (it needs pynini: Linux, or conda), or set normaliser=builtin"
        raise UserError("normaliser=nemo", found=f"no NeMo text processing here ({error})", remedy=remedy) from error
    return Normalizer(input_case="cased", lang=language)
