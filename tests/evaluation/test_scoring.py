from __future__ import annotations

import pytest

from evaluation.question_answering.scoring import AnswerWordErrors, is_right, share, total, word_errors


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


@pytest.mark.parametrize(
    ("said", "heard", "edits", "words"),
    [
        ("what is two plus two", "what is two plus two", 0, 5),
        ("What is two plus two?", "what is  two plus two", 0, 5),
        ("what is two plus two", "what is two two", 1, 5),
        ("what is two", "what was two too", 2, 3),
        ("what is two", "", 3, 3),
        ("", "two words", 2, 0),
        ("", "", 0, 0),
    ],
)
def test_word_errors(said: str, heard: str, edits: int, words: int) -> None:
    assert word_errors(said, heard) == AnswerWordErrors(edits, words)


def test_the_total_weighs_words_not_sentences() -> None:
    assert total([AnswerWordErrors(1, 1), AnswerWordErrors(0, 9)]).rate == pytest.approx(0.1)
    assert total([]).rate == 0
    assert share([True, False, True, True]) == 0.75
