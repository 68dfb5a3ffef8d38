"""Multiple choice in free text: hand-computed letters by our rule and by the published way, traps, and laws."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.rules.choices import MCQ, OPTION_NAMED, official_choice, stated_choice
from evaluation.rules.rule import Answered
from evaluation.sets.item import EvaluationItem

PROMPT = "Where is it?\nA. in Paris\nB. in Rome\nC. in a big town\nD. nowhere"


@pytest.mark.parametrize(
    ("text", "ours", "official"),
    [
        ("B", "b", "b"),
        ("b", "b", "b"),
        ("B.", "b", "b"),
        ("(C)", "c", "c"),
        ("The answer is B.", "b", "b"),
        ("The correct answer is (D), not A.", "d", "d"),
        ("**The answer is: C**", "c", "c"),
        ("The answer is A? No: the answer is C.", "c", "a"),  # the last statement, or the first letter in order
        ("The answer is because of the rain B", "b", "b"),  # "answer is b" is within "because", and right by luck
        ("The answer is clearly C", "c", "c"),  # "answer is c" within "clearly"
        ("The answer is definitely option A.", "a", "d"),  # "answer is d" within "definitely"
        ("I would choose D because", "d", "d"),
        ("\\boxed{C}", "c", "c"),
        ("$\\boxed{\\text{B}}$", "b", "b"),
        ("答案是C。", "c", "c"),
        ("正确选项为 D", "d", None),
        ("选B，因为", "b", None),
        ("Option A is correct", "a", None),
        ("A is the correct answer.", "a", None),
        ("It is in Rome.", "b", None),
        ("Either (A) or (B)", None, "a"),
        ("A dog is in a big town", "c", None),  # the article is no letter
        ("I do not know", None, None),
        ("", None, None),
        ("B) in Rome", "b", "b"),
        ("C: in a big town", "c", "c"),
        ("<1> B", "b", "b"),
        ("Option D, I'd say", "d", "d"),
    ],
)
def test_hand_computed_letters(text: str, ours: str | None, official: str | None) -> None:
    assert stated_choice(text, PROMPT) == ours
    assert official_choice(text) == official


def item(reference: str, id_: str = "a", **details: str) -> EvaluationItem:
    return EvaluationItem(id=id_, prompt=PROMPT, references=(reference,), details=details)


@pytest.mark.parametrize("reference", ["B", "b", "(B)", "B. in Rome", " B)", "Option B"])
def test_references_in_any_form(reference: str) -> None:
    assert MCQ.score(item(reference), Answered("The answer is B.")).measures["accuracy"].total == 1
    assert MCQ.score(item(reference), Answered("The answer is C.")).measures["accuracy"].total == 0


def test_what_states_nothing_is_wrong_by_default_and_drawn_officially() -> None:
    nothing = MCQ.score(item("B"), Answered("I do not know"))
    assert (nothing.measures["accuracy"].total, nothing.note) == (0, "no choice found")
    drawn = [MCQ.score(item("B", f"{n}"), Answered("I do not know", compat="official")) for n in range(400)]
    assert {one.note for one in drawn} == {"no choice found, drawn at random"}
    assert sum(one.measures["accuracy"].total for one in drawn) == pytest.approx(100, abs=30)
    again = [MCQ.score(item("B", f"{n}"), Answered("I do not know", compat="official")) for n in range(400)]
    assert again == drawn
    other = [MCQ.score(item("B", f"{n}"), Answered("I do not know", compat="official", seed=2)) for n in range(400)]
    assert other != drawn


@given(st.sampled_from("ABCD"), st.sampled_from(["The answer is {}.", "({})", "{}", "Answer: {}", "Option {}."]))
def test_a_clear_letter_is_found_in_any_wrapping(letter: str, template: str) -> None:
    text = template.format(letter)
    for wrapped in (text, f"**{text}**", f"  {text}\n", f"_{text}_"):
        assert stated_choice(wrapped) == letter.lower()
    assert official_choice(text.upper()) == official_choice(text.lower()) == letter.lower()


@given(st.text())
def test_any_text_is_scored(text: str) -> None:
    for compat in ("default", "official"):
        score = MCQ.score(item("B"), Answered(text, compat=compat))
        assert score.measures["accuracy"].total in (0, 1)


@pytest.mark.parametrize(
    ("text", "language", "chosen"),
    [
        ("Option B", "en", "b"),
        ("option b. in Rome", "en", "b"),
        ("The answer is option  C", "en", "c"),
        ("optionD", "en", "d"),
        ("OPTION A or option B", "en", "a"),  # the first
        ("B", "en", None),
        ("The answer is B", "en", None),
        ("an optional choice", "en", "a"),  # "option" and the a of "al": the rule's trap
        ("options", "en", None),
        ("选项B", "zh", "b"),
        ("选项 c", "zh", "c"),
        ("option B", "zh", None),
        ("选B", "zh", None),
        ("", "en", None),
    ],
)
def test_speech_mmlu(text: str, language: str, chosen: str | None) -> None:
    score = OPTION_NAMED.score(item("B", language=language), Answered(text))
    assert score.details["chosen"] == chosen
    assert score.measures["accuracy"].total == float(chosen == "b")
    assert bool(score.note) == (chosen is None)
