"""The quality gate: speech tokens that cannot be a reading of their text, so that the text stays text.

A language model of speech fails in three ways: it does not stop, it stops too early, or it goes round in circles. All
three show in the tokens, without a recogniser: their number for the length of the text, and how often a group of three
comes again.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpus.text.words import IDEOGRAPHS
from runtime.errors import check_option

SPOKEN = re.compile(rf"[{IDEOGRAPHS}]|\w")
LETTERS_OF_AN_IDEOGRAPH = 4  # one is spoken about as long as four Latin letters

GOOD = "good"
EMPTY, UNFINISHED, SHORT, LONG, REPETITIVE = "empty", "unfinished", "short", "long", "repetitive"
OVERSIZED = "oversized"  # the model has no room for it


@dataclass(kw_only=True)
class GateConfig:
    """Bounds on the speech tokens of a span.

    Speech of 12 to 18 letters a second at 12.5 tokens a second has 0.7 to 1.1 tokens a letter, and nearly all groups of
    three are distinct (0.92 and more in the built-in corpus); the defaults leave room around that.

    Attributes:
        min_per_letter: fewest tokens for each letter of the text.
        max_per_letter: most tokens for each letter of the text, besides the allowance.
        allowance: tokens of silence that any span may have on top.
        min_distinct_share: least share of distinct groups of three tokens among all groups of three.
    """

    min_per_letter: float = 0.4
    max_per_letter: float = 1.8
    allowance: int = 12
    min_distinct_share: float = 0.6

    def __post_init__(self) -> None:
        names = ("min_per_letter", "max_per_letter", "allowance", "min_distinct_share")
        for name in names:
            check_option(getattr(self, name) >= 0, f"gate.{name}", getattr(self, name), "give 0 or more")
        is_ordered = self.min_per_letter <= self.max_per_letter
        check_option(is_ordered, "gate.min_per_letter", self.min_per_letter, "give at most gate.max_per_letter")
        check_option(self.min_distinct_share <= 1, "gate.min_distinct_share", self.min_distinct_share, "at most 1")

    def most_tokens(self, text: str) -> int:
        """How many tokens a text may take at most."""
        return math.ceil(self.max_per_letter * count_letters(text)) + self.allowance


def count_letters(text: str) -> int:
    """Letters and digits of a text; an ideograph counts as several."""
    return sum(LETTERS_OF_AN_IDEOGRAPH if re.match(f"[{IDEOGRAPHS}]", one) else 1 for one in SPOKEN.findall(text))


def judge(text: str, codes: npt.NDArray[np.uint16], is_finished: bool, config: GateConfig) -> str:
    """`GOOD`, or the reason why the codes (T,) are no reading of the text.

    Args:
        text: what was to be spoken.
        codes: what was generated.
        is_finished: whether the model ended the speech by itself.
        config: the bounds.
    """
    if not len(codes):
        return EMPTY
    if not is_finished:
        return UNFINISHED
    if len(codes) < config.min_per_letter * count_letters(text):
        return SHORT
    if len(codes) > config.most_tokens(text):
        return LONG
    if distinct_share(codes) < config.min_distinct_share:
        return REPETITIVE
    return GOOD


def distinct_share(codes: npt.NDArray[np.uint16]) -> float:
    """Share of distinct groups of three tokens among all groups of three; 1 for fewer than four groups."""
    if len(codes) < 6:
        return 1.0
    groups = np.lib.stride_tricks.sliding_window_view(codes, 3)
    return len(np.unique(groups, axis=0)) / len(groups)
