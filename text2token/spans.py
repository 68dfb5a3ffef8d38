"""Which words of a text become speech: span policies behind one interface.

A policy takes a text and a random generator and gives spans: word-aligned, in order, with at least one word of text
between two of them. `poisson` is the paper's (2411.17607, section 2.2): span lengths from Poisson(10 words) until
their sum is a share eta = 0.3 of the text's words, then places for them at random. `sentence` (InSerter, 2503.02769)
and `alternate` (SpeLangy, 2510.20860) speak whole sentences.

A word is what stands between white space; a Chinese or Japanese character is a word of its own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from corpus.errors import check_option
from corpus.text import split_sentences

IDEOGRAPHS = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{IDEOGRAPHS}]|[^\s{IDEOGRAPHS}]+")


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
        policy: poisson, sentence or alternate.
        ratio: eta, share of the words that become speech (alternate has no use for it).
        mean_words: lambda, mean length of a span in words (poisson only).
    """

    policy: str = "poisson"
    ratio: float = 0.3
    mean_words: float = 10.0

    def __post_init__(self) -> None:
        check_option(self.policy in POLICIES, "spans.policy", self.policy, f"give one of {', '.join(POLICIES)}")
        check_option(0 <= self.ratio <= 1, "spans.ratio", self.ratio, "give a share in [0, 1]")
        check_option(self.mean_words > 0, "spans.mean_words", self.mean_words, "give a positive number of words")


SpanPolicy = Callable[[str, SpanConfig, np.random.Generator], list[Span]]


def choose_spans(text: str, config: SpanConfig, random: np.random.Generator) -> list[Span]:
    """The spans of a text that become speech."""
    return POLICIES[config.policy](text, config, random)


def count_words(text: str) -> int:
    """Number of words of a text."""
    return sum(1 for _ in WORD.finditer(text))


def poisson_spans(text: str, config: SpanConfig, random: np.random.Generator) -> list[Span]:
    """Lengths from Poisson(lambda) until they add up to ceil(ratio * words), the last one cut to fit; then places.

    Every set of places is equally likely. A short text thus reaches the ratio with one short span.
    """
    words = [match.span() for match in WORD.finditer(text)]
    lengths = draw_lengths(math.ceil(config.ratio * len(words) - 1e-9), config.mean_words, random)
    while sum(lengths) + len(lengths) - 1 > len(words):  # no room for a word between all of them
        last = lengths.pop()
        lengths[-1] += last
    return _place(words, lengths, random)


def draw_lengths(total: int, mean: float, random: np.random.Generator) -> list[int]:
    """Positive lengths from Poisson(mean) that add up to ``total``."""
    lengths: list[int] = []
    while total > 0:
        lengths.append(min(max(1, int(random.poisson(mean))), total))
        total -= lengths[-1]
    return lengths


def sentence_spans(text: str, config: SpanConfig, random: np.random.Generator) -> list[Span]:
    """Sentences at random, none beside another, until their words reach the ratio."""
    sentences = sentence_bounds(text)
    missing = config.ratio * sum(sentence.num_words for sentence in sentences)
    chosen: set[int] = set()
    for number in random.permutation(len(sentences)).tolist():
        if missing > 1e-9 and not chosen & {number - 1, number + 1}:
            chosen.add(number)
            missing -= sentences[number].num_words
    return [sentences[number] for number in sorted(chosen)]


def alternate_spans(text: str, config: SpanConfig, random: np.random.Generator) -> list[Span]:
    """Every second sentence, beginning with the first or the second."""
    return sentence_bounds(text)[int(random.integers(2)) :: 2]


def sentence_bounds(text: str) -> list[Span]:
    """The sentences of a text that hold a word, as spans."""
    spans, at = [], 0
    for sentence in split_sentences(text):
        start = text.index(sentence, at)
        at = start + len(sentence)
        spans.append(Span(start, at, count_words(sentence)))
    return [span for span in spans if span.num_words]


def _place(words: Sequence[tuple[int, int]], lengths: list[int], random: np.random.Generator) -> list[Span]:
    """Spans of the given lengths (words), in this order, at places drawn uniformly, a word or more between them."""
    count = len(lengths)
    slack = len(words) - sum(lengths) - max(count - 1, 0)  # words beyond the one that must part two spans
    bars = np.sort(random.choice(slack + count, size=count, replace=False)) if count else np.zeros(0, dtype=int)
    before = bars - np.arange(count)  # slack words before each span
    spans, used = [], 0
    for number, length in enumerate(lengths):
        first = int(before[number]) + used + number
        spans.append(Span(words[first][0], words[first + length - 1][1], length))
        used += length
    return spans


POLICIES: dict[str, SpanPolicy] = {"poisson": poisson_spans, "sentence": sentence_spans, "alternate": alternate_spans}
