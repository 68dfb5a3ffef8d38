"""Which words of a text become speech: span policies behind one interface.

A policy gets a text's words and which of them may be spoken (`WordLayout`) and chooses ranges of words, in order, with
at least one word of text between two of them:

- `poisson`, the paper's (2411.17607, section 2.2): lengths from Poisson(10 words) until their sum is a share eta = 0.3
  of the words, then places for them at random;
- `word` and `sentence`, InSerter's (2503.02769): stretches of 5 words or more, best at a ratio of 0.3, or whole
  sentences, best at 0.4;
- `alternate`: every second sentence (SpeLangy, 2510.20860).

Real speech whose words have times is cut by the same policies, or at every change of modality like Spirit-LM's, in
`text2token.aligned`. Shares hold on average over documents: what a document of few words cannot have exactly is drawn
so that the mean is right. Code, addresses, tables and formulas are never spoken (`corpus.text.speakability`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from corpus.text.normalisation import split_sentences
from corpus.text.speakability import unspeakable_parts
from corpus.text.words import SEGMENTERS, count_words, segment
from runtime.errors import check_option

from .placement import Range, Run, place_at_random


@dataclass(frozen=True)
class Span:
    """Words of a text that become speech: characters ``start`` to ``end``, ``num_words`` words."""

    start: int
    end: int
    num_words: int


@dataclass(kw_only=True)
class SpanConfig:
    """How spans are chosen.

    Attributes:
        policy: poisson, word, sentence or alternate.
        ratio: eta, share of the words that become speech (alternate has no use for it). The paper and InSerter's word
            level: 0.3; InSerter's sentence level: 0.4.
        mean_words: mean length of a span in words: lambda of poisson; word draws from min_words to as far above it
            (our choice).
        min_words: shortest span of the word policy (InSerter: 5).
        segmenter: characters, or jieba: no cut within a Chinese word (needs the package rjieba).
        skips_unspeakable: keep away from code, addresses, tables, formulas and mark-up.
    """

    policy: str = "poisson"
    ratio: float = 0.3
    mean_words: float = 10.0
    min_words: int = 5
    segmenter: str = "characters"
    skips_unspeakable: bool = True

    def __post_init__(self) -> None:
        check_option(self.policy in POLICIES, "spans.policy", self.policy, f"give one of {', '.join(POLICIES)}")
        check_option(0 <= self.ratio <= 1, "spans.ratio", self.ratio, "give a share in [0, 1]")
        check_option(self.mean_words > 0, "spans.mean_words", self.mean_words, "give a positive number of words")
        check_option(self.min_words >= 1, "spans.min_words", self.min_words, "give at least 1")
        is_ordered = self.policy != "word" or self.min_words <= self.mean_words
        check_option(is_ordered, "spans.min_words", self.min_words, "give at most spans.mean_words")
        known = f"give one of {', '.join(SEGMENTERS)}"
        check_option(self.segmenter in SEGMENTERS, "spans.segmenter", self.segmenter, known)


class WordLayout:
    """The words of a text, and the runs of words that may be spoken.

    Attributes:
        words: start and end of each word (of what the segmenter joins).
        runs: ranges of words, first and one past the last, without an unspeakable word.
    """

    def __init__(self, text: str, config: SpanConfig) -> None:
        self.text = text
        self.words = segment(text, config.segmenter)
        parts = unspeakable_parts(text) if config.skips_unspeakable else []
        self.runs: list[Run] = _runs(self.words, parts)

    def span(self, words: Range) -> Span:
        """A range of words as characters."""
        start, end = self.words[words.first][0], self.words[words.stop - 1][1]
        return Span(start, end, count_words(self.text[start:end]))

    def sentences(self) -> list[Range]:
        """The sentences as ranges of words, those left out that hold what is not to be spoken."""
        starts = np.array([start for start, _ in self.words], dtype=np.int64)
        bounds = [np.searchsorted(starts, pair).tolist() for pair in sentence_bounds(self.text)]
        owner = np.full(len(self.words), -1)
        for number, run in enumerate(self.runs):
            owner[run.first : run.stop] = number
        return [Range(first, stop) for first, stop in bounds if first < stop and owner[first] == owner[stop - 1] != -1]


SpanPolicy = Callable[[WordLayout, SpanConfig, np.random.Generator], list[Range]]


def choose_spans(text: str, config: SpanConfig, random: np.random.Generator) -> list[Span]:
    """The spans of a text that become speech."""
    layout = WordLayout(text, config)
    return [layout.span(words) for words in POLICIES[config.policy](layout, config, random)]


def poisson_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[Range]:
    """Lengths from Poisson(lambda), the last one cut so that they add up to the share; then places.

    In a text without unspeakable words every set of places is equally likely.
    """
    total = round_at_random(config.ratio * len(layout.words), random)
    return place_at_random(layout.runs, draw_lengths(total, config.mean_words, random), random)


def word_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[Range]:
    """Lengths from ``min_words`` on, none cut: the last is taken or left so that the share is right on average."""
    missing, lengths = config.ratio * len(layout.words), []
    longest = round(2 * config.mean_words) - config.min_words
    while missing > 0:
        length = int(random.integers(config.min_words, longest + 1))
        if is_taken(length, missing, random):
            lengths.append(length)
        missing -= length
    return place_at_random(layout.runs, lengths, random, cut_to=config.min_words)


def sentence_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[Range]:
    """Sentences at random until their words reach the share, the last taken or left so that it is right on average.

    None lies beside another as long as there are others; then neighbours are joined to one span.
    """
    sentences = layout.sentences()
    missing = config.ratio * len(layout.words)
    order = random.permutation(len(sentences)).tolist()
    chosen: set[int] = set()
    for may_touch in (False, True):
        for number in order:
            if missing <= 1e-9:
                break
            if number in chosen or (not may_touch and chosen & {number - 1, number + 1}):
                continue
            length = sentences[number].stop - sentences[number].first
            if is_taken(length, missing, random):
                chosen.add(number)
            missing -= length
    return _join([sentences[number] for number in sorted(chosen)])


def alternate_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[Range]:
    """Every second sentence, beginning with the first or the second."""
    return _apart(layout.sentences()[int(random.integers(2)) :: 2])


POLICIES: dict[str, SpanPolicy] = {
    "poisson": poisson_spans,
    "word": word_spans,
    "sentence": sentence_spans,
    "alternate": alternate_spans,
}


def draw_lengths(total: int, mean: float, random: np.random.Generator) -> list[int]:
    """Positive lengths from Poisson(mean) that add up to ``total``."""
    lengths: list[int] = []
    while total > 0:
        lengths.append(min(max(1, int(random.poisson(mean))), total))
        total -= lengths[-1]
    return lengths


def round_at_random(number: float, random: np.random.Generator) -> int:
    """One of the two neighbouring whole numbers, so that the mean is the number itself."""
    return int(number + 1e-9 + random.random()) if abs(number - round(number)) > 1e-9 else round(number)


def is_taken(length: int, missing: float, random: np.random.Generator) -> bool:
    """Whether a span that may be longer than what is missing is taken: with the chance that makes the mean right."""
    return length <= missing or random.random() < missing / length


def sentence_bounds(text: str) -> list[tuple[int, int]]:
    """Start and end of the sentences that hold a word."""
    bounds, at = [], 0
    for sentence in split_sentences(text):
        start = text.index(sentence, at)
        at = start + len(sentence)
        bounds.append((start, at))
    return bounds


def _runs(words: Sequence[tuple[int, int]], parts: Sequence[tuple[int, int]]) -> list[Run]:
    """The longest ranges of words that touch none of the parts (both in order)."""
    starts = np.array([start for start, _ in words], dtype=np.int64)
    ends = np.array([end for _, end in words], dtype=np.int64)
    is_speakable = np.ones(len(words), dtype=np.int8)
    for start, end in parts:
        is_speakable[np.searchsorted(ends, start, side="right") : np.searchsorted(starts, end)] = 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_speakable, [0]])))
    return [Run(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]


def _join(ranges: list[Range]) -> list[Range]:
    """Ranges in order, those that touch made one."""
    joined: list[Range] = []
    for one in ranges:
        if joined and joined[-1].stop == one.first:
            joined[-1] = Range(joined[-1].first, one.stop)
        else:
            joined.append(one)
    return joined


def _apart(ranges: list[Range]) -> list[Range]:
    """Ranges in order without those that touch the one before."""
    return [one for before, one in pairwise([Range(-2, -2), *ranges]) if before.stop < one.first]
