"""Rules of choice by likelihood, by hand: ties, parts without tokens, unequal lengths; and their symmetries."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.likelihood.likelihood_rules import (
    NOTHING,
    RULES,
    TIE,
    CandidateLikelihood,
    LikelihoodRule,
    PartLikelihood,
)
from evaluation.rules.measure import score_set

Part = tuple[float, int] | tuple[float, int, float, int]


def candidate(context: Part, continuation: Part) -> CandidateLikelihood:
    return CandidateLikelihood(PartLikelihood(*context), PartLikelihood(*continuation))


NONE: Part = (0.0, 0)
# right candidate, wrong candidate, and the scores by sequence, continuation and continuation_sum; None: no token
PAIRS: list[tuple[tuple[Part, Part], tuple[Part, Part], tuple[float | None, float | None, float | None]]] = [
    # -12/6 > -16/6; -2 > -4; -4 > -8
    (((-8, 4), (-4, 2)), ((-8, 4), (-8, 2)), (1, 1, 1)),
    # wrong by all
    (((-8, 4), (-8, 2)), ((-8, 4), (-4, 2)), (0, 0, 0)),
    # equal in all
    (((-8, 4), (-4, 2)), ((-8, 4), (-4, 2)), (0.5, 0.5, 0.5)),
    # longer and better per token, worse in sum: -8-6 over 8 = -1.75 > -8-4 over 6 = -2; -1.5 > -2; -6 < -4
    (((-8, 4), (-6, 4)), ((-8, 4), (-4, 2)), (1, 1, 0)),
    # longer at the same mean: equal per token of the continuation; the sequence is pulled to -2 by more tokens
    (((-4, 4), (-8, 4)), ((-4, 4), (-4, 2)), (0, 0.5, 0)),
    # -11/9 = -1.222 < -12/10 = -1.2; -3 < -2; in sum -3 > -4
    (((-8, 8), (-3, 1)), ((-8, 8), (-4, 2)), (0, 0, 1)),
    # -10/5 > -11/5; -2.5 > -3; -5 > -6
    (((-5, 3), (-5, 2)), ((-5, 3), (-6, 2)), (1, 1, 1)),
    # no context (sBLIMP): sequence is continuation
    ((NONE, (-6, 4)), (NONE, (-4, 2)), (1, 1, 0)),
    ((NONE, (-4, 2)), (NONE, (-6, 4)), (0, 0, 1)),
    ((NONE, (-4, 2)), (NONE, (-8, 4)), (0.5, 0.5, 1)),
    # no continuation of one candidate: only the sequence can be compared: -8/4 = -2 against -8-2 over 5 = -2
    (((-8, 4), NONE), ((-8, 4), (-2, 1)), (0.5, None, None)),
    (((-8, 4), (-2, 1)), ((-8, 4), NONE), (0.5, None, None)),
    # nothing at all
    ((NONE, NONE), (NONE, NONE), (None, None, None)),
    # contexts of other numbers (joint encoding of speech): -9/6 > -13/8; -3/2 < -4/3; -3 > -4
    (((-6, 4), (-3, 2)), ((-9, 5), (-4, 3)), (1, 0, 1)),
    # probability one: log 1 = 0 beats everything
    (((-8, 4), (0.0, 3)), ((-8, 4), (-1e-5, 3)), (1, 1, 1)),
    # a difference below the six digits that are kept is a tie
    (((-8, 4), (-4.0000001, 2)), ((-8, 4), (-4, 2)), (0.5, 0.5, 0.5)),
]


@pytest.mark.parametrize("rule_number", range(3), ids=list(RULES))
@pytest.mark.parametrize("pair", PAIRS, ids=range(len(PAIRS)))
def test_pairs_by_hand(pair: Any, rule_number: int) -> None:
    right, wrong, expected = pair
    rule = list(RULES.values())[rule_number]
    score = rule.score([candidate(*right), candidate(*wrong)], 0, has_marks=False)
    wanted = expected[rule_number]
    assert score.measures["accuracy"].total == (0.5 if wanted is None else wanted)
    assert score.note == (NOTHING if wanted is None else TIE if wanted == 0.5 else "")
    turned = rule.score([candidate(*wrong), candidate(*right)], 1, has_marks=False)
    assert turned == score


def test_marks_count_where_they_are_asked_for() -> None:
    # tokens: -4/2 against -2/2; with the marks: -4-0.5 over 4 = -1.125 against -2-6 over 4 = -2
    right, wrong = candidate((-8, 4, -1, 1), (-4, 2, -0.5, 2)), candidate((-8, 4, -1, 1), (-2, 2, -6, 2))
    for rule in RULES.values():
        assert rule.score([right, wrong], 0, has_marks=False).measures["accuracy"].total == 0
        assert rule.score([right, wrong], 0, has_marks=True).measures["accuracy"].total == 1
    only_marks = candidate(NONE, (0.0, 0, -3.0, 1))
    assert RULES["continuation"].score([only_marks] * 2, 0, has_marks=False).note == NOTHING
    assert RULES["continuation"].score([only_marks] * 2, 0, has_marks=True).note == TIE


def test_margin_is_that_to_the_best_of_the_others() -> None:
    four = [candidate(NONE, (total, 2)) for total in (-9, -4, -6, -5)]
    score = RULES["continuation_sum"].score(four, 1, has_marks=False)
    assert (score.measures["accuracy"].total, score.details["margin"]) == (1, 1)
    score = RULES["continuation_sum"].score(four, 2, has_marks=False)
    assert (score.measures["accuracy"].total, score.details["margin"]) == (0, -2)
    three_alike = [candidate(NONE, (total, 2)) for total in (-4, -4, -6, -4)]
    assert RULES["continuation"].score(three_alike, 3, has_marks=False).measures["accuracy"].total == 1 / 3
    assert RULES["continuation"].score(three_alike, 2, has_marks=False).measures["accuracy"].total == 0
    one_empty = [*four[:3], candidate(NONE, NONE)]
    assert RULES["continuation"].score(one_empty, 1, has_marks=False).measures["accuracy"].total == 1 / 4


sums = st.integers(-40, 0).map(lambda tenths: tenths / 10)
parts = st.tuples(sums, st.integers(0, 4), sums, st.integers(0, 2)).map(
    lambda drawn: PartLikelihood(drawn[0] if drawn[1] else 0.0, drawn[1], drawn[2] if drawn[3] else 0.0, drawn[3])
)
candidates = st.builds(CandidateLikelihood, parts, parts)
rules = st.sampled_from(list(RULES.values()))


@given(candidates, candidates, rules, st.booleans())
def test_right_and_wrong_exchanged_give_the_complement(
    one: CandidateLikelihood, other: CandidateLikelihood, rule: LikelihoodRule, has_marks: bool
) -> None:
    score = rule.score([one, other], 0, has_marks=has_marks)
    turned = rule.score([other, one], 0, has_marks=has_marks)
    assert score.measures["accuracy"].total == 1 - turned.measures["accuracy"].total
    assert score.note == turned.note


@given(st.lists(candidates, min_size=2, max_size=5), st.data(), rules)
def test_shares_of_all_candidates_add_up_to_one(
    given_candidates: list[CandidateLikelihood], data: Any, rule: LikelihoodRule
) -> None:
    scores = [
        rule.score(given_candidates, correct, has_marks=False).measures["accuracy"].total
        for correct in range(len(given_candidates))
    ]
    assert sum(scores) == pytest.approx(1)
    order = data.draw(st.permutations(range(len(given_candidates))))
    turned = [given_candidates[at] for at in order]
    for place, correct in enumerate(order):
        assert rule.score(turned, place, has_marks=False).measures["accuracy"].total == scores[correct]


@given(st.lists(st.tuples(candidates, candidates), min_size=1, max_size=12), rules, st.integers(0, 100))
def test_the_order_of_items_does_not_matter(
    pairs: list[tuple[CandidateLikelihood, CandidateLikelihood]], rule: LikelihoodRule, seed: int
) -> None:
    scored = [("", rule.score(pair, 0, has_marks=False)) for pair in pairs]
    shuffled = random.Random(seed).sample(scored, len(scored))
    assert score_set(scored) == score_set(shuffled)
