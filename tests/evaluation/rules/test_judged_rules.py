"""Ratings and verdicts of judges: hand-computed readings, unreadable replies left out, prompts and statistics."""

from __future__ import annotations

import pytest

from evaluation.rules.measure import score_set
from evaluation.rules.ratings import OPEN, REASONING, SEMI_OPEN, SINGLE_ANSWER
from evaluation.rules.rule import Answered, Compat, Rule
from evaluation.rules.verdicts import RESULT_JUDGE, SCORE_IS_JUDGE, YES_NO_JUDGE
from evaluation.sets.item import EvaluationItem

ITEM = EvaluationItem(id="a", prompt="What?", references=("this", "that"))


@pytest.mark.parametrize(
    ("rule", "reply", "expected"),
    [
        (OPEN, "4", 4),
        (OPEN, " 5.", 5),
        (OPEN, "Score: 3", 3),
        (OPEN, "**2**", 2),
        (OPEN, "4/5", 4),
        (OPEN, "[[1]]", 1),
        (OPEN, "I would give it a [[5]]", 5),
        (OPEN, "3.5", 3.5),
        (OPEN, "10", None),  # not on the scale
        (OPEN, "0", None),
        (OPEN, "very good", None),
        (OPEN, "It deserves 4", None),  # a number in prose is none
        (OPEN, "", None),
        (SINGLE_ANSWER, "Good. Rating: [[7]]", 7),
        (SINGLE_ANSWER, "[[3]] no, wait: [[8]]", 8),
        (SINGLE_ANSWER, "[[ 10 ]]", 10),
        (SINGLE_ANSWER, "[[11]]", None),
        (REASONING, "推理正确。\n[[5]]", 5),
        (REASONING, "评分：4", 4),
        (REASONING, "很好", None),
    ],
)
def test_hand_computed_ratings(rule: Rule, reply: str, expected: float | None) -> None:
    score = rule.score(ITEM, Answered("an answer", (reply,)))
    assert score.measures == ({} if expected is None else {"rating": (expected, 1)})
    assert score.note == ("" if expected is not None else "unreadable judgement")


def test_all_ratings_weigh_alike() -> None:
    scores = [
        ("", OPEN.score(ITEM, Answered("a", ("5", "5", "4")))),
        ("", OPEN.score(ITEM, Answered("a", ("1", "nothing", "2")))),
        ("", OPEN.score(ITEM, Answered("a", ("nothing",)))),
        ("", OPEN.score(ITEM, Answered("", ()))),
    ]
    found = score_set(scores)
    assert found.means["rating"].micro == pytest.approx((5 + 5 + 4 + 1 + 2 + 1 + 1 + 1) / 8)
    assert found.notes == {"empty answer": 1, "unreadable judgement": 1}
    assert OPEN.score(ITEM, Answered("a")).note == "no judgement"


@pytest.mark.parametrize(
    ("rule", "replies", "compat", "expected"),
    [
        (YES_NO_JUDGE, ("Yes",), "default", 1),
        (YES_NO_JUDGE, ("yes.", "No", "Yes"), "default", 1),
        (YES_NO_JUDGE, ("No", "No", "Yes"), "default", 0),
        (YES_NO_JUDGE, ("Yes, it is", "no"), "default", 1),  # a tie: the first
        (YES_NO_JUDGE, ("Maybe",), "default", None),
        (YES_NO_JUDGE, ("Maybe", "Yes"), "default", 1),
        (YES_NO_JUDGE, ("Nothing",), "default", None),
        (YES_NO_JUDGE, (), "default", None),
        (YES_NO_JUDGE, ("Yes.", "Yes.", "Yes"), "official", 0),  # only exactly "yes" counts
        (YES_NO_JUDGE, ("YES", " yes ", "No"), "official", 1),
        (YES_NO_JUDGE, ("Maybe",), "official", 0),
        (SCORE_IS_JUDGE, ("It fits. The score is [Correct].",), "default", 1),
        (SCORE_IS_JUDGE, ("the score is incorrect",), "default", 0),
        (SCORE_IS_JUDGE, ("The score is: **[Correct]**",), "default", 1),
        (
            SCORE_IS_JUDGE,
            ("the score is [Correct]? No: the score is [Incorrect]",),
            "default",
            0,
        ),
        (SCORE_IS_JUDGE, ("Correct",), "default", None),
        (RESULT_JUDGE, ('{"result": "CORRECT"}',), "default", 1),
        (RESULT_JUDGE, ('```json\n{"result": "Incorrect"}\n```',), "default", 0),
        (RESULT_JUDGE, ('{"result": "maybe"}',), "default", None),
        (RESULT_JUDGE, ("CORRECT",), "default", None),
    ],
)
def test_hand_computed_verdicts(rule: Rule, replies: tuple[str, ...], compat: Compat, expected: int | None) -> None:
    score = rule.score(ITEM, Answered("an answer", replies, compat))
    assert score.measures == ({} if expected is None else {"accuracy": (expected, 1)})


@pytest.mark.parametrize(
    "rule", [OPEN, SEMI_OPEN, SINGLE_ANSWER, REASONING, YES_NO_JUDGE, SCORE_IS_JUDGE, RESULT_JUDGE]
)
def test_prompts_hold_their_fields_and_parameters(rule: Rule) -> None:
    assert rule.judge is not None
    content = rule.judge.messages(ITEM, "an {instruction} answer")[-1]["content"]
    assert "What?" in content and "an {instruction} answer" in content
    has_reference = "{reference}" in rule.judge.template
    assert ("this / that" in content) == has_reference == (rule not in (OPEN, SINGLE_ANSWER))
    three = {"temperature": 0.5, "top_p": 0.95, "n": 3, "max_tokens": 1024}
    assert (rule.judge.parameters == three) == (rule in (OPEN, SEMI_OPEN, YES_NO_JUDGE))
    assert rule.score(ITEM, Answered(" ")).note == "empty answer"
