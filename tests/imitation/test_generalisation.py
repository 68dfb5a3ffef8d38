import math
import random

import pytest

from imitation.benchmark.generalisation import (
    SEEN,
    UNSEEN_PROMPTS,
    UNSEEN_TASKS,
    ScoredAnswer,
    group_scores,
    imitation_gap,
)

ANSWERS = [
    ScoredAnswer("a", 0, SEEN, "u1", 1.0),
    ScoredAnswer("a", 0, SEEN, "u2", 0.0),
    ScoredAnswer("a", 1, SEEN, "u1", 1.0),
    ScoredAnswer("a", 1, SEEN, "u3", 1.0),
    ScoredAnswer("b", 0, SEEN, "u1", 0.5),
    ScoredAnswer("a", 2, UNSEEN_PROMPTS, "u1", 0.25),
]


def test_means_over_tasks_and_the_worst_prompt() -> None:
    found = group_scores(ANSWERS)
    assert set(found) == {SEEN, UNSEEN_PROMPTS}
    assert found[SEEN].tasks == {"a": 0.75, "b": 0.5} and found[SEEN].mean == 0.625  # not the mean over answers
    assert found[SEEN].worst_prompt == (0.5, "a/0") and found[SEEN].answers == 5
    assert found[UNSEEN_PROMPTS].mean == 0.25 and found[UNSEEN_PROMPTS].interval == (0.25, 0.25)


def test_order_and_doubling_change_nothing_and_doubling_does_not_narrow_the_interval() -> None:
    shuffled = random.Random(1).sample(ANSWERS, len(ANSWERS))
    assert group_scores(shuffled) == group_scores(ANSWERS)
    twice = group_scores(ANSWERS * 2)
    assert twice[SEEN].mean == 0.625 and twice[SEEN].interval == group_scores(ANSWERS)[SEEN].interval


def test_the_interval_holds_the_true_mean_about_as_often_as_it_says() -> None:
    draw, hits = random.Random(2), 0
    for _ in range(60):
        answers = [
            ScoredAnswer(task, 0, SEEN, f"u{number}", float(draw.random() < share))
            for number in range(80)
            for task, share in (("a", 0.3), ("b", 0.7))
        ]
        low, high = group_scores(answers)[SEEN].interval
        hits += low <= 0.5 <= high
    assert 50 <= hits <= 60


def test_gap() -> None:
    scores = {"transcript": group_scores(ANSWERS), "speech": group_scores(ANSWERS[1:])}
    assert imitation_gap(scores, "speech", SEEN) == pytest.approx(0.625 - (2 / 3 + 0.5) / 2, abs=1e-5)
    assert math.isnan(imitation_gap(scores, "speech", UNSEEN_TASKS))
    assert math.isnan(imitation_gap(scores, "cascade", SEEN))
