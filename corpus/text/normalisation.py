"""Transcripts and texts: normal form for comparing and labelling, and cutting into sentences."""

from __future__ import annotations

import re
import unicodedata

import regex

from .abbreviations import ends_sentence

APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
ASCII_WORDS = str.maketrans(
    {chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)} | {"'": "'", "`": "'"}
)
LOOSE_ASCII_APOSTROPHE = re.compile(r"(?<![A-Za-z0-9])'|'(?![A-Za-z0-9])")
NOT_OF_A_WORD = regex.compile(r"[^\p{L}\p{M}\p{N}'\u200c\u200d]|(?<![\p{L}\p{M}\p{N}\u200c\u200d])\p{M}+")
LOOSE_APOSTROPHE = regex.compile(r"(?<![\p{L}\p{M}\p{N}])'|'(?![\p{L}\p{N}])")
# Soft hyphens, zero-width spaces, byte-order marks, variation selectors, marks of direction: shown as nothing.
IGNORABLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}--[\u200c\u200d]]", regex.V1)
# The joiners of Persian and of the scripts of India spell words; elsewhere (emoji) they say nothing.
JOINED = (
    r"[\p{Arabic}\p{Devanagari}\p{Bengali}\p{Gurmukhi}\p{Gujarati}\p{Oriya}\p{Tamil}\p{Telugu}\p{Kannada}"
    r"\p{Malayalam}\p{Sinhala}\p{Myanmar}\p{Khmer}\p{Mongolian}]"
)
LOOSE_JOINER = regex.compile(rf"(?<!{JOINED})[\u200c\u200d]+|[\u200c\u200d]+(?!{JOINED})")

CLOSING = r"[\"'”’\p{Pe}\p{Pf}]*"
SENTENCE_END = regex.compile(
    rf"(?<![\p{{STerm}}…])[\p{{STerm}}…]++{CLOSING}(?=\s)|(?<![。！？｡])[。！？｡]++{CLOSING}|\n\s*\n"
)


def normalise(text: str) -> str:
    """Lower-case words parted by single spaces, without punctuation ("Don't stop, Tom!" -> "don't stop tom").

    Combining marks stay with their letters, so that Hindi, Thai, Tamil and pointed Arabic and Hebrew keep their
    vowels; characters that are shown as nothing are dropped without parting a word.
    """
    if text.isascii():
        text = text.translate(ASCII_WORDS)
        return " ".join((LOOSE_ASCII_APOSTROPHE.sub(" ", text) if "'" in text else text).split())
    text = IGNORABLE.sub("", unicodedata.normalize("NFKC", text)).translate(APOSTROPHES).lower()
    text = NOT_OF_A_WORD.sub(" ", LOOSE_JOINER.sub("", text))
    return " ".join(LOOSE_APOSTROPHE.sub(" ", text).split())


def split_sentences(text: str) -> list[str]:
    """Cut a text at the ends of its sentences and at blank lines; marks are kept.

    A sentence ends with a mark that Unicode names so and space behind it (``。！？`` need none), but at no full stop
    of an abbreviation, an initial or a list's number (`corpus.text.abbreviations.ends_sentence`).
    """
    pieces, at = [], 0
    for end in SENTENCE_END.finditer(text):
        if end[0][0] != "." or len(end[0]) > 1 or ends_sentence(text, end.end()):
            pieces.append(text[at : end.end()])
            at = end.end()
    return [piece for part in [*pieces, text[at:]] if (piece := part.strip())]


def join_sentences(sentences: list[str]) -> str:
    """Sentences of plain words as one text: parted by ``". "`` and closed by ``"."``."""
    return ". ".join(sentences) + "."
