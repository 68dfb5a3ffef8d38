"""Places for spans of given lengths among the words that may be spoken, at random, never touching."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Range(NamedTuple):
    """Words ``first`` to ``stop`` - 1."""

    first: int
    stop: int


Run = Range  # words in a row that may all be spoken; between two runs lies a word that may not


def place_at_random(
    runs: Sequence[Run], lengths: Sequence[int], random: np.random.Generator, *, cut_to: int = 1
) -> list[Range]:
    """Spans of these lengths at random places within the runs, one word or more between two of them.

    Each length goes to a run that has room, the more likely the more places it has there. One that fits nowhere is
    parted, or lengthens a span that is there, so that all words asked for are spoken as long as there are as many.

    Args:
        runs: in order.
        lengths: in words, in the order in which they are given out.
        random: decides.
        cut_to: a span is not cut to fewer words than this; what cannot be placed so is left out.
    """
    taken: list[list[int]] = [[] for _ in runs]
    sizes = np.array([run.stop - run.first for run in runs], dtype=np.int64)
    room = sizes.copy()  # most words that one more span could have, of each run
    for length in lengths:
        missing = length
        while missing >= cut_to:
            places = np.maximum(room - missing + 1, 0)
            if places.sum():
                at = int(np.searchsorted(places.cumsum(), random.integers(places.sum()), side="right"))
                taken[at].append(missing)
                room[at] -= missing + 1
                break
            # the run with most words left: a span of its own, or the last one there made longer by one word more
            left = room + np.array([bool(spans) for spans in taken])
            if not len(left) or left.max() <= 0:
                at = next((number for number, spans in enumerate(taken) if len(spans) > 1), -1)
                if at < 0:
                    break
                taken[at][-2:] = [sum(taken[at][-2:])]  # two made one: the word between them is free
                room[at] += 1
                continue
            at = int(left.argmax())
            added = min(missing, int(left[at]))
            if taken[at]:
                taken[at][-1] += added
                room[at] -= added
            elif added >= cut_to:
                taken[at].append(added)
                room[at] -= added + 1
            else:
                break
            missing -= added
    return [
        placed
        for run, size, spans in zip(runs, sizes.tolist(), taken, strict=True)
        for placed in _place(run.first, size, spans, random)
    ]


def _place(first: int, size: int, lengths: Sequence[int], random: np.random.Generator) -> list[Range]:
    """Spans of the given lengths, in this order, within ``size`` words; every set of places is equally likely."""
    count = len(lengths)
    slack = size - sum(lengths) - max(count - 1, 0)  # words beyond the one that must part two spans
    bars = np.sort(random.choice(slack + count, size=count, replace=False)) if count else np.zeros(0, dtype=int)
    before = bars - np.arange(count)  # slack words before each span
    spans, used = [], 0
    for number, length in enumerate(lengths):
        start = first + int(before[number]) + used + number
        spans.append(Range(start, start + length))
        used += length
    return spans
