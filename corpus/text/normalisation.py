"""Transcripts and texts: normal form for comparing and labelling, and cutting into sentences."""

from __future__ import annotations

import re
import unicodedata

APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "`": "'"})
NOT_OF_A_WORD = re.compile(r"[^\w']|_")
LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'|'(?!\w)")
SENTENCE_END = re.compile(r"([.!?…][\"')\]”’]*)\s+|([。！？])")
PARAGRAPH = re.compile(r"\n\s*\n")


def normalise(text: str) -> str:
    """Lower-case words parted by single spaces, without punctuation ("Don't stop, Tom!" -> "don't stop tom")."""
    text = unicodedata.normalize("NFKC", text).translate(APOSTROPHES).lower()
    text = NOT_OF_A_WORD.sub(" ", text)
    return " ".join(LOOSE_APOSTROPHE.sub(" ", text).split())


def split_sentences(text: str) -> list[str]:
    """Cut a text after ``. ! ?`` (and their CJK forms) followed by space, and at blank lines; marks are kept."""
    marked = SENTENCE_END.sub(lambda end: f"{end[1] or end[2]}\n\n", text)
    return [piece for part in PARAGRAPH.split(marked) if (piece := part.strip())]


def join_sentences(sentences: list[str]) -> str:
    """Sentences of plain words as one text: parted by ``". "`` and closed by ``"."``."""
    return ". ".join(sentences) + "."
