"""Measures: sums over items, so that micro, macro and subset means and their intervals follow from one record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.hashing import seed_of

RESAMPLES = 2000
CONFIDENCE = 0.95
DIGITS = 6

Numbers = npt.NDArray[np.float64]


class Measure(NamedTuple):
    """One measure of one item: its mean over a set is the sum of totals by the sum of weights.

    ``Measure(1, 1)`` is a right answer, ``Measure(2, 3)`` two of three instructions followed or two errors in three
    words.
    """

    total: float
    weight: float = 1


@dataclass(frozen=True)
class ItemScore:
    """The score of one answer by one rule.

    Attributes:
        measures: by name; empty where the item is left out of all means.
        note: the reason of being left out, or of a doubtful score (``unmatched``: a choice was drawn); counted.
        details: what the rule found, for reading.
        cluster: items of one cluster (questions about one entity) are drawn together by the bootstrap; "": alone.
        unreadable: replies of the judge that could not be read, also where others could.
    """

    measures: Mapping[str, Measure]
    note: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    cluster: str = ""
    unreadable: int = 0


class PartMeasure(NamedTuple):
    """The measure of one item, its subset and its cluster."""

    subset: str
    measure: Measure
    cluster: str = ""


@dataclass(frozen=True, kw_only=True)
class MeanScore:
    """The means of one measure over a set.

    Attributes:
        micro: sum of totals by sum of weights.
        macro: mean of the items' own ratios.
        subset_mean: mean of the subsets' micro means.
        interval: 95 % bootstrap percentile interval of ``micro``, over items (over clusters where items have one).
        items: number of items in it.
        subsets: micro mean of each subset, by name.
        subset_intervals: the interval of each of them.
    """

    micro: float
    macro: float
    subset_mean: float
    interval: tuple[float, float]
    items: int
    subsets: Mapping[str, float]
    subset_intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class SetScore:
    """All means of a set by one rule, and how many items have which note."""

    means: Mapping[str, MeanScore]
    notes: Mapping[str, int]
    combined: Mapping[str, float] = field(default_factory=dict)


def score_set(
    scores: Sequence[tuple[str, ItemScore]],
    combine: Callable[[Mapping[str, MeanScore]], Mapping[str, float]] | None = None,
) -> SetScore:
    """The means over items.

    Args:
        scores: subset and score of each item. Their order does not matter.
        combine: further numbers out of the means (an overall score).
    """
    names = sorted({name for _, score in scores for name in score.measures})
    means = {
        name: mean_score(
            name, [PartMeasure(part, one.measures[name], one.cluster) for part, one in scores if name in one.measures]
        )
        for name in names
    }
    notes = Counter(one.note for _, one in scores if one.note)
    combined = {} if combine is None else {name: rounded(value) for name, value in combine(means).items()}
    return SetScore(means=means, notes=dict(sorted(notes.items())), combined=combined)


def mean_score(name: str, measures: Sequence[PartMeasure]) -> MeanScore:
    """The means of one measure; the bootstrap is seeded by its name, and sees items in a canonical order."""
    ordered = sorted(measures)
    parts = {part: [one for one in ordered if one.subset == part] for part in sorted({one.subset for one in ordered})}
    of_parts = {
        part: ratio([one.measure.total for one in own], [one.measure.weight for one in own])
        for part, own in parts.items()
    }
    totals, weights = (np.array([getattr(one.measure, key) for one in ordered], dtype=float) for key in Measure._fields)
    return MeanScore(
        micro=ratio(totals, weights),
        macro=rounded(np.mean(totals[weights > 0] / weights[weights > 0])) if (weights > 0).any() else math.nan,
        subset_mean=rounded(np.mean(list(of_parts.values()))),
        interval=interval(*cluster_sums(ordered), seed_of(f"bootstrap {name}")),
        items=len(ordered),
        subsets=of_parts,
        subset_intervals={
            part: interval(*cluster_sums(own), seed_of(f"bootstrap {name} {part}")) for part, own in parts.items()
        },
    )


def cluster_sums(measures: Sequence[PartMeasure]) -> tuple[Numbers, Numbers]:
    """Sums of totals and of weights (C,), one a cluster, and one for each item without a cluster."""
    sums: dict[str | int, list[Measure]] = {}
    for number, one in enumerate(measures):
        sums.setdefault(one.cluster or number, []).append(one.measure)
    totals, weights = (
        np.array([math.fsum(getattr(one, key) for one in own) for own in sums.values()], dtype=float)
        for key in Measure._fields
    )
    return totals, weights


def ratio(totals: Iterable[float], weights: Iterable[float]) -> float:
    """Sum by sum; NaN without a weight."""
    weight = math.fsum(weights)
    return rounded(math.fsum(totals) / weight) if weight else math.nan


def interval(totals: Numbers, weights: Numbers, seed: int) -> tuple[float, float]:
    """Bootstrap percentile interval of the ratio of sums, items resampled with replacement."""
    if not len(totals):
        return (math.nan, math.nan)
    rng = np.random.default_rng(seed)
    # Multinomial counts are the same as drawing items, without an index array of resamples by items.
    draws = rng.multinomial(len(totals), np.full(len(totals), 1 / len(totals)), size=RESAMPLES)
    below = draws @ weights
    ratios = (draws @ totals)[below > 0] / below[below > 0]
    edges = np.quantile(ratios, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if len(ratios) else [math.nan] * 2
    return (rounded(edges[0]), rounded(edges[1]))


def rounded(value: float | np.floating[Any]) -> float:
    """To six digits after the point: what is written is the same on machines that sum in another order."""
    return round(float(value), DIGITS)
