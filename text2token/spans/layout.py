"""The words of a text as a layout for spans: word bounds, runs of speakable words, sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from corpus.text.abbreviations import ends_sentence
from corpus.text.normalisation import split_sentences
from corpus.text.speakability import unspeakable_parts
from corpus.text.spoken_form import reading_units
from corpus.text.words import count_words, segment


class WordRange(NamedTuple):
    """Words ``first`` to ``stop`` - 1."""

    first: int
    stop: int


@dataclass(frozen=True)
class Span:
    """Words of a text that become speech: characters ``start`` to ``end``, ``num_words`` words."""

    start: int
    end: int
    num_words: int


class WordLayout:
    """The words of a text, and the runs of words that may be spoken.

    Args:
        text: any.
        segmenter: of the words, one of `corpus.text.words.SEGMENTERS`.
        skips_unspeakable: leave words of code, addresses, tables, formulas and mark-up out of the runs, and those with
            digits or symbols that have no reading.

    Attributes:
        words: start and end of each word (of what the segmenter joins, and of what is read as one: "$5 million",
            "March 5, 2019", "St. Louis"; no span ends within).
        runs: the longest ranges of speakable words; at least one unspeakable word lies between two of them.
    """

    def __init__(self, text: str, *, segmenter: str, skips_unspeakable: bool) -> None:
        self.text = text
        units = reading_units(text)
        self.words = _join_units(text, segment(text, segmenter), units.claimed)
        parts = sorted([*unspeakable_parts(text), *units.unread]) if skips_unspeakable else []
        self.runs = _speakable_runs(self.words, parts)

    def span(self, words: WordRange) -> Span:
        """A range of words as characters."""
        start, end = self.words[words.first][0], self.words[words.stop - 1][1]
        return Span(start, end, count_words(self.text[start:end]))

    def sentences(self) -> list[WordRange]:
        """The sentences without an unspeakable word."""
        starts = np.array([start for start, _ in self.words], dtype=np.int64)
        bounds = [np.searchsorted(starts, pair).tolist() for pair in sentence_bounds(self.text)]
        run_of_word = np.full(len(self.words), -1)
        for number, run in enumerate(self.runs):
            run_of_word[run.first : run.stop] = number
        return [
            WordRange(first, stop)
            for first, stop in bounds
            if first < stop and run_of_word[first] == run_of_word[stop - 1] != -1
        ]


def sentence_bounds(text: str) -> list[tuple[int, int]]:
    """Start and end (characters) of the sentences that hold a word."""
    bounds, at = [], 0
    for sentence in split_sentences(text):
        start = text.index(sentence, at)
        at = start + len(sentence)
        bounds.append((start, at))
    return bounds


def _join_units(text: str, words: Sequence[tuple[int, int]], units: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The words, joined where the space between two lies within a unit of reading or behind an abbreviation."""
    joined: list[tuple[int, int]] = []
    at = 0  # the first unit that does not end before the space
    for start, end in words:
        if joined:
            before = joined[-1][1]
            while at < len(units) and units[at][1] <= before:
                at += 1
            is_within = at < len(units) and units[at][0] < start
            if (is_within and units[at][0] < before) or (text[before - 1] == "." and not ends_sentence(text, before)):
                joined[-1] = (joined[-1][0], end)
                continue
        joined.append((start, end))
    return joined


def _speakable_runs(words: Sequence[tuple[int, int]], parts: Sequence[tuple[int, int]]) -> list[WordRange]:
    """The longest ranges of words that overlap none of the unspeakable parts (both in order)."""
    starts = np.array([start for start, _ in words], dtype=np.int64)
    ends = np.array([end for _, end in words], dtype=np.int64)
    is_speakable = np.ones(len(words), dtype=np.int8)
    for start, end in parts:
        is_speakable[np.searchsorted(ends, start, side="right") : np.searchsorted(starts, end)] = 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_speakable, [0]])))
    return [WordRange(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]
