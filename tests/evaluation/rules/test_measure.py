"""Means over items: hand-computed, and laws of order, repetition and intervals."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from evaluation.rules.measure import ItemScore, Measure, score_set


def one(total: float, weight: float = 1, note: str = "") -> ItemScore:
    return ItemScore({"accuracy": Measure(total, weight)}, note)


def test_micro_macro_and_subset_means() -> None:
    scores = [("a", one(1, 2)), ("a", one(1, 1)), ("b", one(0, 5)), ("b", ItemScore({}, "unreadable judgement"))]
    found = score_set(scores)
    mean = found.means["accuracy"]
    assert mean.micro == pytest.approx(2 / 8)
    assert mean.macro == pytest.approx((0.5 + 1 + 0) / 3, abs=1e-6)
    assert mean.subsets == {"a": pytest.approx(2 / 3, abs=1e-6), "b": 0}
    assert mean.subset_mean == pytest.approx(1 / 3, abs=1e-6)
    assert mean.items == 3 and found.notes == {"unreadable judgement": 1}


def test_the_order_of_items_changes_nothing() -> None:
    rng = random.Random(3)
    scores = [(rng.choice("ab"), one(rng.random(), rng.randint(1, 4))) for _ in range(50)]
    shuffled = rng.sample(scores, len(scores))
    assert score_set(scores) == score_set(shuffled)


def test_repeating_the_set_keeps_the_means_and_narrows_the_interval() -> None:
    scores = [("", one(float(number % 3 == 0))) for number in range(60)]
    once, often = score_set(scores).means["accuracy"], score_set(scores * 9).means["accuracy"]
    assert (once.micro, once.macro) == (often.micro, often.macro) == (0.333333, 0.333333)
    width = [mean.interval[1] - mean.interval[0] for mean in (once, often)]
    assert width[1] == pytest.approx(width[0] / 3, rel=0.25)
    assert once.interval[0] <= once.micro <= once.interval[1]


def test_the_interval_is_that_of_a_binomial() -> None:
    found = score_set([("", one(float(number < 30))) for number in range(100)]).means["accuracy"]
    deviation = math.sqrt(0.3 * 0.7 / 100)
    assert found.interval[0] == pytest.approx(0.3 - 1.96 * deviation, abs=0.015)
    assert found.interval[1] == pytest.approx(0.3 + 1.96 * deviation, abs=0.015)


def test_items_of_a_cluster_are_drawn_together() -> None:
    """Nine equal answers about one entity say no more than one: the interval is that of the entities."""
    alone = [("x", one(float(number % 3 == 0))) for number in range(60)]
    nine = [(part, replace(score, cluster=f"entity {at}")) for at, (part, score) in enumerate(alone) for _ in range(9)]
    found, expected = score_set(nine).means["accuracy"], score_set(alone).means["accuracy"]
    assert found.micro == expected.micro and found.items == 540
    width = [mean.interval[1] - mean.interval[0] for mean in (found, expected)]
    assert width[0] == pytest.approx(width[1], rel=0.05)
    low, high = found.subset_intervals["x"]
    assert high - low == pytest.approx(width[0], rel=0.05)
    assert score_set(nine) == score_set(random.Random(1).sample(nine, len(nine)))


def test_nothing_to_score() -> None:
    assert score_set([("", ItemScore({}, "no judgement"))]).means == {}
