"""Rules that match an answer with references, by hand-computed cases and by laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.rules.answer_match import CONTAINS, CONTIGUOUS
from evaluation.rules.knowledge_judge import KNOWLEDGE
from evaluation.rules.number_words import digits_of
from evaluation.rules.rule import Answered, Rule
from evaluation.sets.item import EvaluationItem


def accuracy(rule: Rule, answer: str, *references: str) -> float:
    item = EvaluationItem(id="a", prompt="who", references=references)
    return rule.score(item, Answered(answer)).measures["accuracy"].total


@pytest.mark.parametrize(
    ("answer", "references", "contiguous", "contains"),
    [
        ("It is Paris.", ("Paris",), 1, 1),
        ("it is PARIS", ("paris",), 1, 1),
        ("The comparison", ("Paris",), 0, 1),  # com-paris-on: the quirk of substrings
        ("Parisian food", ("Paris",), 0, 1),  # a substring is no token
        ("New great York", ("New York",), 0, 1),  # side by side, or anywhere
        ("york new", ("New York",), 0, 1),
        ("New York", ("new-york",), 0, 1),  # the hyphen is a token of its own for DPR's tokens
        ("new-york", ("New-York",), 1, 1),
        ("Cafe\u0301 noir", ("Caf\u00e9",), 1, 0),  # normalised (NFD); the substring rule compares as written
        ("He was born in 1969", ("1969", "nineteen"), 1, 1),
        ("23 people", ("twenty three",), 0, 1),  # number words as digits
        ("two hundred", ("200",), 0, 0),  # only the reference is turned to digits
        ("the U.S.A. won", ("USA",), 0, 0),
        ("the U.S.A. won", ("U.S.A.",), 1, 1),  # the letters u, s and a are substrings of nearly everything
        ("北京市", ("北京",), 0, 1),  # Han letters are one token side by side
        ("", ("Paris",), 0, 0),
        ("   ", ("Paris",), 0, 0),
        ("don't know", ("don't",), 1, 1),
        ("George Bush or Obama", ("Clinton", "Obama"), 1, 1),
        ("a b", ("a b c",), 0, 0),
    ],
)
def test_hand_computed_matches(answer: str, references: tuple[str, ...], contiguous: int, contains: int) -> None:
    assert accuracy(CONTIGUOUS, answer, *references) == contiguous
    assert accuracy(CONTAINS, answer, *references) == contains


def test_an_empty_answer_is_noted() -> None:
    item = EvaluationItem(id="a", prompt="who", references=("x",))
    assert CONTIGUOUS.score(item, Answered(" ")).note == "empty answer"
    assert CONTAINS.score(item, Answered("y")).note == ""


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("zero", "0"),
        ("twenty-three", "23"),
        ("one hundred and five", "105"),
        ("one hundred five", "105"),
        ("two thousand and six", "2006"),
        ("a thousand", "1000"),
        ("three million two hundred thousand", "3200000"),
        ("twenty three people", None),
        ("", None),
        ("thousand", None),
        ("Paris", None),
    ],
)
def test_number_words(text: str, digits: str | None) -> None:
    assert digits_of(text) == digits


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_laws_of_matching(answer: str, references: list[str]) -> None:
    """The order of the references, and repeating them, change nothing; a reference matches itself (but as signs)."""
    for rule in (CONTIGUOUS, CONTAINS):
        once = accuracy(rule, answer, *references)
        assert once == accuracy(rule, answer, *reversed(references), *references)
        assert once in (0, 1)
    word = "".join(letter for letter in references[0] if letter.isascii() and letter.isalnum())
    if word:
        assert accuracy(CONTIGUOUS, f"{answer} {word} {answer}", word) == 1


@pytest.mark.parametrize(
    ("replies", "expected", "note"),
    [
        (('{"analysis": "yes", "judgment": "correct"}',), 1.0, ""),
        (('{"analysis": "no", "judgment": "incorrect"}',), 0.0, ""),
        (('```json\n{"analysis": "x", "judgment": "Correct"}\n```',), 1.0, ""),
        (('Sure: {"analysis": "{a}", "judgment": "incorrect"} Bye.',), 0.0, ""),
        (("correct",), None, "unreadable judgement"),
        (('{"judgment": "maybe"}',), None, "unreadable judgement"),
        (("I cannot judge this.",), None, "unreadable judgement"),
        ((), None, "no judgement"),
        (('{"judgment": "correct"}', "nonsense", '{"judgment": "correct"}'), 1.0, ""),
        (('{"judgment": "correct"}', '{"judgment": "incorrect"}', '{"judgment": "incorrect"}'), 0.0, ""),
        (('{"judgment": "incorrect"}', '{"judgment": "correct"}'), 0.0, ""),  # a tie: the first
        (('["correct"]',), None, "unreadable judgement"),
    ],
)
def test_judged_knowledge(replies: tuple[str, ...], expected: float | None, note: str) -> None:
    item = EvaluationItem(id="a", prompt="Who?", references=("x",))
    score = KNOWLEDGE.score(item, Answered("an answer", replies))
    assert ({} if expected is None else {"accuracy": (expected, 1)}) == score.measures
    assert score.note == note


def test_the_prompt_holds_the_fields_as_they_are() -> None:
    assert KNOWLEDGE.judge is not None
    item = EvaluationItem(id="a", prompt="What is {targets}?", references=("x {y}", "z"))
    (message,) = KNOWLEDGE.judge.messages(item, '{"judgment": "correct"} {instruction}')
    text = message["content"]
    assert "What is {targets}?" in text and "x {y}\nz" in text and '{"judgment": "correct"} {instruction}' in text
