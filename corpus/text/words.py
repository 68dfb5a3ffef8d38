"""Words of a text, in scripts with and without spaces between them.

A word is what stands between white space; a Chinese or Japanese character is a word of its own, with the punctuation
that clings to it. For cutting, a segmenter can join characters to the words a reader of Chinese sees. Positions are
characters of the `str`, so a cut never falls into a UTF-8 sequence.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from runtime.errors import UserError

IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
OPENING, CLOSING = "（“‘《〈【「『〔", "、。，！？：；”’）》〉】」』〕…—·～"
WORD = re.compile(rf"[{OPENING}]*[{IDEOGRAPHS}][{CLOSING}]*|[^\s{IDEOGRAPHS}{OPENING}]+|[{OPENING}]+")
IDEOGRAPH_RUN = re.compile(rf"[{IDEOGRAPHS}]+")
SEGMENTERS = ("characters", "jieba")


def word_bounds(text: str) -> list[tuple[int, int]]:
    """Start and end of each word."""
    return [match.span() for match in WORD.finditer(text)]


def count_words(text: str) -> int:
    """Number of words of a text."""
    return sum(1 for _ in WORD.finditer(text))


def segment(text: str, segmenter: str) -> list[tuple[int, int]]:
    """Start and end of the units that a cut must not part.

    Args:
        text: any.
        segmenter: ``characters`` (the words as they are) or ``jieba`` (Chinese characters joined to words).
    """
    bounds = word_bounds(text)
    if segmenter == "characters" or not IDEOGRAPH_RUN.search(text):
        return bounds
    is_inside: set[int] = set()  # positions within a word of jieba's: no cut there
    for run in IDEOGRAPH_RUN.finditer(text):
        at = run.start()
        for word in _jieba().cut(run[0]):
            is_inside.update(range(at + 1, at + len(word)))
            at += len(word)
    joined: list[tuple[int, int]] = []
    for start, end in bounds:
        if start in is_inside:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


@lru_cache(maxsize=1)
def _jieba() -> Any:
    try:
        import rjieba
    except ImportError:
        remedy = 'install it (pip install "speechweave[mandarin]"), or set spans.segmenter=characters'
        raise UserError("spans.segmenter=jieba", found="no package rjieba", remedy=remedy) from None
    return rjieba
