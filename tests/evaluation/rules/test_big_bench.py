"""BIG-Bench tasks in free text: hand-computed verdicts of every task, the published quirks, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.rules.big_bench import BBH, TASKS, official_answer, reference_answer, stated_answer, task_of
from evaluation.rules.rule import Answered
from evaluation.sets.item import EvaluationItem


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        ("sports_understanding", "Yes, it is plausible.", "yes"),
        ("sports_understanding", "The sentence is not plausible.", "no"),
        ("sports_understanding", "That isn't plausible at all", "no"),
        ("sports_understanding", "It's implausible", "no"),
        ("sports_understanding", "It sounds plausible", "yes"),
        ("sports_understanding", "He plays football. So no.", "no"),
        ("sports_understanding", "Hard to say", None),
        ("hyperbaton", "(A)", "a"),
        ("hyperbaton", "B", "b"),
        ("hyperbaton", "The second sentence has the right order", "b"),
        ("hyperbaton", "The first one", "a"),
        ("hyperbaton", "The first is wrong, the second is right", None),
        ("hyperbaton", "The answer is option B.", "b"),
        ("navigate", "Yes, you return to the starting point.", "yes"),
        ("navigate", "You do not return to the starting point", "no"),
        ("navigate", "You won't end up at the start.", "no"),
        ("navigate", "You end up back at the starting point", "yes"),
        ("navigate", "You are three steps away. So the answer is no.", "no"),
        ("navigate", "", None),
        ("web_of_lies", "Yes.", "yes"),
        ("web_of_lies", "Ann tells the truth, so Bob lies.", "no"),  # the last verdict
        ("web_of_lies", "Bob lies, so Ann tells the truth.", "yes"),
        ("web_of_lies", "Ann does not tell the truth", "no"),
        ("web_of_lies", "No, she lies", "no"),
        ("formal_fallacies", "The argument is invalid.", "no"),
        ("formal_fallacies", "It is deductively valid.", "yes"),
        ("formal_fallacies", "Not valid", "no"),
        ("formal_fallacies", "Yes and no", None),
        ("object_counting", "There are 7 objects.", "7"),
        ("object_counting", "Two apples and three pears make five", "5"),
        ("object_counting", "I count twenty-one.", "21"),
        ("object_counting", "many", None),
    ],
)
def test_hand_computed_verdicts(task: str, text: str, expected: str | None) -> None:
    assert stated_answer(task, text) == expected


@pytest.mark.parametrize(
    ("task", "text", "expected"),
    [
        ("hyperbaton", "a", "a"),
        ("hyperbaton", "b", "a"),  # both letters alone are the first sentence
        ("hyperbaton", "B.", "a"),
        ("hyperbaton", "The answer is B", "b"),
        ("sports_understanding", "The sentence 'X kicked' is not plausible", "yes"),  # inverted
        ("sports_understanding", "It is not plausible", "no"),
        ("sports_understanding", "No. It is", "no"),
        ("sports_understanding", "<1> Yes!", "yes"),
        ("navigate", "Hard to say", None),
        ("navigate", "Yes, you do", "yes"),
        ("web_of_lies", "Bob lies", "no"),
        ("web_of_lies", "no", "no"),
    ],
)
def test_the_published_quirks(task: str, text: str, expected: str | None) -> None:
    assert official_answer(task, text) == expected


def item(task: str, reference: str, id_: str = "a") -> EvaluationItem:
    return EvaluationItem(id=id_, prompt="p", references=(reference,), details={"task": task})


@pytest.mark.parametrize(
    ("task", "reference", "answer"),
    [
        ("hyperbaton", "(B)", "B"),
        ("formal_fallacies", "invalid", "It is invalid"),
        ("formal_fallacies", "valid", "The argument is valid."),
        ("object_counting", "seven", "There are 7"),
        ("object_counting", "7", "There are seven"),
        ("navigate", "Yes", "yes"),
        ("web_of_lies", "No", "No."),
    ],
)
def test_references_in_any_form(task: str, reference: str, answer: str) -> None:
    assert BBH.score(item(task, reference), Answered(answer)).measures["accuracy"].total == 1


def test_unmatched_answers_are_wrong_or_drawn_and_counted() -> None:
    unmatched = BBH.score(item("navigate", "Yes"), Answered("Hard to say"))
    assert (unmatched.measures["accuracy"].total, unmatched.note) == (0, "no choice found")
    drawn = [BBH.score(item("navigate", "Yes", f"{n}"), Answered("Hmm", compat="official")) for n in range(200)]
    assert sum(one.measures["accuracy"].total for one in drawn) == pytest.approx(100, abs=30)
    assert {one.note for one in drawn} == {"no choice found, drawn at random"}
    assert BBH.score(item("navigate", "Yes"), Answered(" ")).note == "empty answer"


@pytest.mark.parametrize("text", ["Yes.", "No, it is not.", "B", "7", "It is invalid"])
@pytest.mark.parametrize("task", TASKS)
def test_casing_changes_nothing_but_for_letters(task: str, text: str) -> None:
    if task == "hyperbaton":
        assert official_answer(task, text.upper()) == official_answer(task, text.lower())
    else:
        assert stated_answer(task, text.upper()) == stated_answer(task, text.lower())


@given(st.sampled_from(TASKS), st.text())
def test_any_text_is_scored(task: str, text: str) -> None:
    for compat in ("default", "official"):
        if task in ("formal_fallacies", "object_counting") and compat == "official":
            continue
        assert BBH.score(item(task, "yes"), Answered(text, compat=compat)).measures["accuracy"].total in (0, 1)


def test_tasks_are_named_by_ids_and_categories() -> None:
    assert task_of("bbh_sports_understanding_12") == "sports_understanding"
    assert task_of("Formal Fallacies") == "formal_fallacies" and task_of("x") is None
    assert reference_answer("hyperbaton", "(A)") == "a"
