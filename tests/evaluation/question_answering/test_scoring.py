from __future__ import annotations

import pytest

from evaluation.question_answering.scoring import is_right, share


@pytest.mark.parametrize(
    ("reply", "answer", "truth"),
    [
        ("the capital of france is paris", "paris", True),
        ("The capital of France is Paris.", "paris", True),
        ("paris", "paris", True),
        ("it is two o'clock", "two o'clock", True),
        ("it is two o’clock!", "two o'clock", True),
        ("it is twelve o'clock", "two o'clock", False),
        ("paris is the capital of france", "paris", False),  # the key must end the reply
        ("the capital of france is paris or rome", "paris", False),
        ("that makes fourteen", "four", False),  # words, not letters
        ("the dog has four legs", "four legs", True),
        ("the dog has legs", "four legs", False),
        ("legs", "four legs", False),
        ("", "paris", False),
        ("...", "paris", False),
    ],
)
def test_a_right_answer_ends_in_the_key(reply: str, answer: str, truth: bool) -> None:
    assert is_right(reply, answer) is truth


def test_a_share_of_truths() -> None:
    assert share([True, False, True, True]) == 0.75
