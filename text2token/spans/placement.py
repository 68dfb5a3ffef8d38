"""Random placement of spans of given lengths among the speakable words of a text; spans never touch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .layout import WordRange


def place_at_random(
    runs: Sequence[WordRange], lengths: Sequence[int], random: np.random.Generator, *, min_cut: int = 1
) -> list[WordRange]:
    """Spans of these lengths at random places within the runs, at least one word between two of them.

    Each length goes to a run with room for it, with a probability in proportion to the number of its places there. A
    length that fits nowhere is divided, or lengthens a span that is placed already, so that the total of words is kept
    as long as there are enough words.

    Args:
        runs: ranges of speakable words, in order.
        lengths: in words, in the order in which they are assigned to runs.
        random: source of the draws.
        min_cut: a length is not cut to fewer words than this; what cannot be placed so is left out.
    """
    assigned = _assign(runs, lengths, random, min_cut)
    sizes = [run.stop - run.first for run in runs]
    return [
        placed
        for run, size, spans in zip(runs, sizes, assigned, strict=True)
        for placed in _place(run.first, size, spans, random)
    ]


def _assign(
    runs: Sequence[WordRange], lengths: Sequence[int], random: np.random.Generator, min_cut: int
) -> list[list[int]]:
    """The lengths of each run's spans."""
    assigned: list[list[int]] = [[] for _ in runs]
    room = np.array([run.stop - run.first for run in runs], dtype=np.int64)  # longest further span of each run
    for length in lengths:
        missing = length
        while missing >= min_cut:
            places = np.maximum(room - missing + 1, 0)
            if places.sum():
                at = int(np.searchsorted(places.cumsum(), random.integers(places.sum()), side="right"))
                assigned[at].append(missing)
                room[at] -= missing + 1
                break
            # It fits nowhere: fill the run with most words left, by a span of its own or by lengthening the last one,
            # which needs no word between the two and so has one word more.
            left = room + np.array([bool(spans) for spans in assigned])
            if not len(left) or left.max() <= 0:
                at = next((number for number, spans in enumerate(assigned) if len(spans) > 1), -1)
                if at < 0:
                    break
                assigned[at][-2:] = [sum(assigned[at][-2:])]  # join two spans: the word between them is free
                room[at] += 1
                continue
            at = int(random.choice(np.flatnonzero(left == left.max())))
            added = min(missing, int(left[at]))
            if assigned[at]:
                assigned[at][-1] += added
                room[at] -= added
            elif added >= min_cut:
                assigned[at].append(added)
                room[at] -= added + 1
            else:
                break
            missing -= added
    return assigned


def _place(first: int, size: int, lengths: Sequence[int], random: np.random.Generator) -> list[WordRange]:
    """Spans of the given lengths within ``size`` words; every order and every set of places is equally likely.

    Lengths come with a bias along the list (the last one is cut to what is left of the ratio): kept in that order, the
    beginnings of texts would be spoken more than their ends.
    """
    lengths = random.permutation(np.array(lengths, dtype=np.int64)).tolist()
    count = len(lengths)
    slack = size - sum(lengths) - max(count - 1, 0)  # words beyond the one that separates two spans
    # Stars and bars: `count` bars among the slack words, uniformly, are the spans' places.
    bars = np.sort(random.choice(slack + count, size=count, replace=False)) if count else np.zeros(0, dtype=int)
    slack_before = bars - np.arange(count)
    spans, used = [], 0
    for number, length in enumerate(lengths):
        start = first + int(slack_before[number]) + used + number
        spans.append(WordRange(start, start + length))
        used += length
    return spans
