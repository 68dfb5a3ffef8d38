"""Span policies: the choice of a text's words that become speech, behind one interface.

A policy gets a text's words and which of them may be spoken (`WordLayout`) and chooses ranges of words, in order, with
at least one word of text between two of them:

- `poisson`, the paper's (2411.17607, section 2.2): lengths from Poisson(10 words) until their sum is a share eta = 0.3
  of the words, then places for them at random;
- `word` and `sentence`, InSerter's (2503.02769): stretches of 5 words or more, best at a ratio of 0.3, or whole
  sentences, best at 0.4;
- `alternate`: every second sentence (SpeLangy, 2510.20860).

A new policy is one function and one row of `POLICIES`. Real speech whose words have times is cut by the same policies
in `text2token.alignment`. Shares hold on average over documents: where a document of few words cannot have its share
exactly, rounding at random keeps the mean. Code, addresses, tables and formulas are never spoken
(`corpus.text.speakability`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from corpus.text.words import SEGMENTERS
from runtime.config import Options, option
from runtime.errors import check_option

from .layout import Span, WordLayout, WordRange
from .placement import place_at_random

SpanPolicy = Callable[[WordLayout, "SpanConfig", np.random.Generator], list[WordRange]]


def poisson_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[WordRange]:
    """Lengths from Poisson(lambda), the last one cut so that they add up to the share; then places.

    In a text without unspeakable words every set of places is equally likely.
    """
    total = round_at_random(config.ratio * len(layout.words), random)
    return place_at_random(layout.runs, draw_lengths(total, config.mean_words, random), random)


def word_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[WordRange]:
    """Lengths from ``min_words`` on, none cut: the last is taken or left so that the share is right on average."""
    missing, lengths = config.ratio * len(layout.words), []
    longest = round(2 * config.mean_words) - config.min_words
    while missing > 0:
        length = int(random.integers(config.min_words, longest + 1))
        if is_taken(length, missing, random):
            lengths.append(length)
        missing -= length
    return place_at_random(layout.runs, lengths, random, min_cut=config.min_words)


def sentence_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[WordRange]:
    """Sentences at random until their words reach the share, the last taken or left so that it is right on average.

    None is adjacent to another as long as there are others; then neighbours are joined to one span.
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


def alternate_spans(layout: WordLayout, config: SpanConfig, random: np.random.Generator) -> list[WordRange]:
    """Every second sentence, beginning with the first or the second."""
    return _apart(layout.sentences()[int(random.integers(2)) :: 2])


POLICIES: dict[str, SpanPolicy] = {
    "poisson": poisson_spans,
    "word": word_spans,
    "sentence": sentence_spans,
    "alternate": alternate_spans,
}


@dataclass(kw_only=True)
class SpanConfig(Options):
    """Options of the choice of spans.

    Attributes:
        policy: of the choice.
        ratio: eta, share of the words that become speech (alternate does not use it). The paper and InSerter's word
            level: 0.3; InSerter's sentence level: 0.4.
        mean_words: mean length of a span in words: lambda of poisson; word draws uniformly from min_words to
            2 mean_words - min_words (our choice).
        min_words: shortest span of the word policy (InSerter: 5).
        segmenter: characters, or jieba: no cut within a Chinese word (needs the package rjieba).
        skips_unspeakable: leave out code, addresses, tables, formulas and mark-up.
    """

    policy: str = option("poisson", one_of=POLICIES)
    ratio: float = option(0.3, at_least=0, at_most=1)
    mean_words: float = option(10.0, above=0)
    min_words: int = option(5, at_least=1)
    segmenter: str = option("characters", one_of=SEGMENTERS)
    skips_unspeakable: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        is_ordered = self.policy != "word" or self.min_words <= self.mean_words
        check_option(is_ordered, "spans.min_words", self.min_words, "give at most spans.mean_words")


def choose_spans(text: str, config: SpanConfig, random: np.random.Generator) -> list[Span]:
    """The spans of a text that become speech, in order."""
    layout = WordLayout(text, segmenter=config.segmenter, skips_unspeakable=config.skips_unspeakable)
    return [layout.span(words) for words in POLICIES[config.policy](layout, config, random)]


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


def _join(ranges: list[WordRange]) -> list[WordRange]:
    """Ranges in order, those that touch made one."""
    joined: list[WordRange] = []
    for one in ranges:
        if joined and joined[-1].stop == one.first:
            joined[-1] = WordRange(joined[-1].first, one.stop)
        else:
            joined.append(one)
    return joined


def _apart(ranges: list[WordRange]) -> list[WordRange]:
    """Ranges in order without those that touch the one before."""
    return [one for before, one in pairwise([WordRange(-2, -2), *ranges]) if before.stop < one.first]
