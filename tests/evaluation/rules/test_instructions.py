"""The 25 verifiable instructions: hand-computed cases in three dialects, the published checkers' traps, laws."""

from __future__ import annotations

import random
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.rules.instructions import writing
from evaluation.rules.instructions.arguments import Arguments, Dialect
from evaluation.rules.instructions.counting import count_sentences, count_words
from evaluation.rules.instructions.following import BILINGUAL, FOUR, IFEVAL, loose_variants
from evaluation.rules.instructions.table import CHECKERS
from evaluation.rules.measure import score_set
from evaluation.rules.rule import Answered, Compat
from evaluation.sets.item import EvaluationItem
from runtime.errors import UserError

AT_LEAST, LESS = {"relation": "at least"}, {"relation": "less than"}
LETTERS_3 = {"letter": "e", "let_frequency": 3, "let_relation": "at least"}
PARAGRAPH = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Then"}
CAPITALS = {"capital_frequency": 2, "capital_relation": "at least"}
DIALECTS: tuple[Dialect, ...] = ("default", "google", "bilingual")

# id, arguments, answer, and whether it is followed in the three dialects.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["cat", "dog"]}, "A CAT and a dog.", "111"),
    ("keywords:existence", {"keywords": ["cat"]}, "A category.", "011"),  # no word boundary
    ("keywords:existence", {"keywords": ["cat", "dog"]}, "A cat.", "000"),
    ("keywords:existence", {"keywords": ["a.c"]}, "abc", "011"),  # a regular expression
    ("keywords:existence", {"keywords": ["C++"]}, "I like C++.", "111"),  # and not a valid one
    ("keywords:existence", {"keywords": ["苹果"]}, "我爱吃苹果。", "111"),
    ("keywords:existence", {"keywords": []}, "anything", "111"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2} | AT_LEAST, "Go, go!", "111"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2} | AT_LEAST, "go to Chicago", "011"),
    ("keywords:frequency", {"keyword": "go", "frequency": 2} | LESS, "go", "111"),
    ("keywords:frequency", {"keyword": "go", "frequency": 1} | LESS, "go", "000"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "A category.", "110"),  # stricter than IFEval
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "A Cat.", "000"),
    ("keywords:forbidden_words", {"forbidden_words": ["苹果"]}, "我爱吃苹果。", "000"),
    ("keywords:forbidden_words", {"forbidden_words": ["dog"]}, "A cat.", "111"),
    ("keywords:letter_frequency", LETTERS_3, "Eee", "111"),
    ("keywords:letter_frequency", LETTERS_3, "ee", "000"),
    ("keywords:letter_frequency", LETTERS_3 | {"letter": "E", "let_relation": "less than"}, "ee", "111"),
    ("length_constraints:number_sentences", {"num_sentences": 2} | AT_LEAST, "One. Two!", "111"),
    ("length_constraints:number_sentences", {"num_sentences": 2} | AT_LEAST, "Dr. Smith came.", "000"),
    ("length_constraints:number_sentences", {"num_sentences": 2} | LESS, "No end", "111"),
    ("length_constraints:number_sentences", {"num_sentences": 2} | AT_LEAST, "好。是吗？", "111"),
    ("length_constraints:number_sentences", {"num_sentences": 2} | AT_LEAST, "Hi there. How? 好", "110"),  # only ！？。
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "111"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "***\na *** b\n***", "111"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a *** *** b", "000"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}, "a\n\nb", "111"),
    ("length_constraints:number_words", {"num_words": 3} | AT_LEAST, "one two three", "111"),
    ("length_constraints:number_words", {"num_words": 3} | AT_LEAST, "don't go", "011"),  # don't: one or two
    ("length_constraints:number_words", {"num_words": 4} | AT_LEAST, "我爱北京", "101"),  # Chinese: by character
    ("length_constraints:number_words", {"num_words": 4} | AT_LEAST, "I do love 北京", "110"),  # by nothing else
    ("length_constraints:number_words", {"num_words": 3} | LESS, "one two three", "000"),
    ("length_constraints:nth_paragraph_first_word", PARAGRAPH, "First.\n\nThen, we go.", "111"),
    ("length_constraints:nth_paragraph_first_word", PARAGRAPH, "First.\n\n\n\nThen we go.", "100"),  # n-th of all
    ("length_constraints:nth_paragraph_first_word", PARAGRAPH, "First.\n\n'Then' it is", "111"),
    ("length_constraints:nth_paragraph_first_word", PARAGRAPH, "First.\n\nAnd then", "000"),
    ("length_constraints:nth_paragraph_first_word", PARAGRAPH, "A\n\nThen\n\nC", "000"),
    ("length_constraints:nth_paragraph_first_word", PARAGRAPH | {"first_word": "然后"}, "先。\n\n然后我们走", "101"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] of [place]", "111"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "【名字】和【地址】", "101"),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name", "000"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. Call me", "111"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\np. s. Call", "111"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "I like maps", "001"),  # "ps" will do
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.P.S more", "111"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "P.S. more", "001"),
    ("detectable_content:postscript", {"postscript_marker": "附言"}, "再见。附言：打电话", "111"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "111"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "**bold**\n* one", "111"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one", "000"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n* b\n* c", "000"),  # exactly
    ("detectable_format:constrained_response", {}, "Well. My answer is yes.", "111"),
    ("detectable_format:constrained_response", {}, "my answer is yes", "000"),
    ("detectable_format:constrained_response", {}, "我的答案是否。", "101"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* and *b*", "111"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "**a** and *b*", "111"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 1}, "** ** * *", "000"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1 a\nSection 2 b",
        "111",
    ),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}, "SECTION 1 a", "000"),
    ("detectable_format:multiple_sections", {"section_spliter": "第", "num_sections": 1}, "第1节", "111"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "111"),
    ("detectable_format:json_format", {}, "[1, 2]", "111"),
    ("detectable_format:json_format", {}, '{"a": 1', "000"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "111"),
    ("detectable_format:title", {}, "<< >>", "000"),
    ("detectable_format:title", {}, "《标题》", "101"),
    ("combination:two_responses", {}, "a******b", "111"),
    ("combination:two_responses", {}, "a******a", "000"),
    ("combination:two_responses", {}, "a******b******c", "000"),
    ("combination:two_responses", {}, "******a******b******", "111"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, " say HI. Hi!", "111"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "Hi! Say hi.", "000"),
    ("startend:end_checker", {"end_phrase": "That is all."}, 'So. THAT is all."', "111"),
    ("startend:end_checker", {"end_phrase": "That is all."}, "So. That is all", "001"),  # punctuation taken out
    ("startend:end_checker", {"end_phrase": "That is all."}, "That is all. Bye", "000"),
    ("startend:quotation", {}, ' "Hello" ', "111"),
    ("startend:quotation", {}, "“你好”", "101"),
    ("startend:quotation", {}, '"', "000"),
    ("startend:quotation", {}, '"Hello', "000"),
    ("change_case:capital_word_frequency", CAPITALS, "The U.S. and NATO.", "111"),
    ("change_case:capital_word_frequency", CAPITALS, "The Cat", "000"),
    ("change_case:capital_word_frequency", CAPITALS | {"capital_relation": "less than"}, "I am", "111"),
    ("punctuation:no_comma", {}, "No comma.", "111"),
    ("punctuation:no_comma", {}, "One, two", "000"),
    ("punctuation:no_comma", {}, "一，二", "010"),
]

LANGUAGE_CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("change_case:english_capital", {}, "THIS IS AN ENGLISH SENTENCE AND IT IS LONG ENOUGH TO BE FOUND", "111"),
    ("change_case:english_capital", {}, "This is not.", "000"),
    ("change_case:english_capital", {}, "DAS IST EIN DEUTSCHER SATZ UND KEIN ENGLISCHER ODER ANDERER", "100"),
    ("change_case:english_capital", {}, "OK", "100"),  # the letters are too few for a detector
    ("change_case:english_lowercase", {}, "this is an english sentence and it is long enough to be found", "111"),
    ("change_case:english_lowercase", {}, "это русский текст", "000"),
    ("language:response_language", {"language": "de"}, "Das ist ein deutscher Satz und kein anderer.", "111"),
    ("language:response_language", {"language": "fr"}, "This is certainly not French at all.", "000"),
    ("language:response_language", {"language": "fr"}, "123 456", "011"),  # no letters: an error that passes
    ("language:response_language", {"language": "zh"}, "我们今天去北京的公园里散步。", "100"),  # langdetect: zh-cn
    ("language:response_language", {"language": "zh-cn"}, "我们今天去北京的公园里散步。", "111"),
]


@pytest.mark.parametrize(("id_", "values", "text", "expected"), CASES)
def test_hand_computed_instructions(id_: str, values: dict[str, Any], text: str, expected: str) -> None:
    found = "".join(str(int(CHECKERS[id_](text, Arguments(values, dialect)))) for dialect in DIALECTS)
    assert found == expected


@pytest.mark.parametrize(("id_", "values", "text", "expected"), LANGUAGE_CASES)
def test_hand_computed_languages(id_: str, values: dict[str, Any], text: str, expected: str) -> None:
    pytest.importorskip("langdetect")
    test_hand_computed_instructions(id_, values, text, expected)


def test_a_missing_language_detector_is_named_with_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langdetect.detector_factory", None)
    writing._detectors.cache_clear()
    with pytest.raises(UserError, match=r"langdetect is not installed.*speechweave\[evaluation\]"):
        writing.detect_language("some text")


def test_every_instruction_has_cases() -> None:
    cases = CASES + LANGUAGE_CASES
    assert len(CHECKERS) == 25 and {id_ for id_, *_ in cases} == set(CHECKERS)
    for id_ in CHECKERS:
        verdicts = "".join(expected for other, _, _, expected in cases if other == id_)
        assert {"0", "1"} <= set(verdicts), id_


def item(*instructions: tuple[str, dict[str, Any]], id_: str = "a", prompt: str = "do it") -> EvaluationItem:
    return EvaluationItem(id=id_, prompt=prompt, details={"instructions": instructions})


NO_COMMA, TITLE = ("punctuation:no_comma", {}), ("detectable_format:title", {})


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ("<<A>>\nno comma", "11", "11"),
        ("Sure, here it is:\n<<A>>", "01", "11"),  # without its first line
        ("<<A>>\nbye, bye", "01", "11"),  # without its last
        ("Sure,\n<<A>> fine\nbye, bye", "01", "11"),  # without both
        ("one, two\nthree, four", "00", "00"),
        ("", "00", "00"),  # an empty answer has no comma, and follows nothing
        ("  \n ", "00", "00"),
        ("<<A>>", "11", "11"),
        ("a, <<A>>", "01", "01"),
        ("<*<A>>", "10", "11"),  # without stars
        ("no comma", "10", "10"),
        ("Sure,\n<<A>>", "01", "11"),
    ],
)
def test_strict_and_loose(text: str, strict: str, loose: str) -> None:
    found = IFEVAL.score(item(NO_COMMA, TITLE), Answered(text)).measures
    for name, verdicts in (("strict", strict), ("loose", loose)):
        assert found[f"{name}_prompt"] == (float(verdicts == "11"), 1)
        assert found[f"{name}_instruction"] == (verdicts.count("1"), 2)
    assert found["P"].total == ((strict == "11") + (loose == "11")) / 2
    assert found["I"] == ((strict + loose).count("1") / 2, 2)


def test_means_over_a_set_are_those_of_the_two_papers() -> None:
    """Two items with one and three instructions: prompts weigh alike in P, instructions in I."""
    scores = [
        ("", BILINGUAL.score(item(NO_COMMA), Answered("fine"))),
        ("", BILINGUAL.score(item(NO_COMMA, TITLE, ("startend:quotation", {})), Answered("Well,\n<<A>>"))),
    ]
    found = score_set(scores, BILINGUAL.combine)
    means = {name: mean.micro for name, mean in found.means.items()}
    assert [means[name] for name in FOUR] == [0.5, 0.5, 0.5, 0.75]
    assert (means["P"], means["I"]) == (0.5, 0.625)
    assert found.combined == {"mean": pytest.approx(0.5625)}


def test_marks_in_front_are_taken_off_by_the_official_rule_only() -> None:
    quoted = item(("startend:quotation", {}))
    totals = {
        compat: BILINGUAL.score(quoted, Answered('<1> <2>"Hi"', compat=compat)).measures["strict_prompt"].total
        for compat in ("default", "official")
    }
    assert totals == {"default": 0, "official": 1}


def test_a_zero_is_dropped_and_drawn_by_the_official_rule_and_kept_by_default() -> None:
    never = item(("keywords:frequency", {"keyword": "go", "frequency": 0, "relation": "at least"}))
    assert BILINGUAL.score(never, Answered("stay")).measures["strict_prompt"].total == 1
    drawn = BILINGUAL.score(never, Answered("stay", compat="official"))
    assert drawn.measures["strict_prompt"].total == 0 and drawn.note == "argument drawn at random"
    again = [BILINGUAL.score(never, Answered("go go", compat="official", seed=seed)) for seed in (1, 1, 2, 3, 4, 5, 6)]
    assert again[0] == again[1]
    assert len({one.measures["strict_prompt"].total for one in again}) == 2, "1 to 3 times, by the seed"


@pytest.mark.parametrize(
    ("id_", "values"),
    [
        ("length_constraints:number_words", {"relation": "at least"}),
        ("length_constraints:number_words", {"num_words": 3}),
        ("length_constraints:number_words", {"num_words": 3, "relation": "about"}),
        ("length_constraints:number_words", {"num_words": "three", "relation": "at least"}),
        ("keywords:existence", {"keywords": "cat"}),
        ("startend:end_checker", {"end_phrase": 3}),
        ("combination:repeat_prompt", {}),
    ],
)
@pytest.mark.parametrize("text", ["some answer", ""])
def test_an_instruction_without_its_argument_leaves_the_item_out(id_: str, values: dict[str, Any], text: str) -> None:
    found = IFEVAL.score(item((id_, values)), Answered(text))
    assert found.measures == {} and found.note == "instruction without its argument"


def test_a_number_from_a_table_may_be_a_float() -> None:
    bullets = item(("detectable_format:number_bullet_lists", {"num_bullets": 1.0}))
    assert IFEVAL.score(bullets, Answered("* one")).measures["strict_prompt"].total == 1


def test_the_eight_variants() -> None:
    assert loose_variants("*a*\nb\nc") == ["*a*\nb\nc", "b\nc", "*a*\nb", "b", "a\nb\nc", "b\nc", "a\nb", "b"]


ANSWERS = st.text(alphabet="ab ,.*\n-<>[]\"'!。，我爱1", max_size=60)


@given(ANSWERS, st.sampled_from(["default", "official"]), st.randoms())
def test_laws_of_following(text: str, compat: Compat, rng: random.Random) -> None:
    """Loose never fails where strict passes; the order of instructions changes no count; scores repeat."""
    cases = [(id_, values) for id_, values, *_ in CASES]
    chosen = rng.sample(cases, 4)
    for rule in (IFEVAL, BILINGUAL):
        found = rule.score(item(*chosen), Answered(text, compat=compat))
        assert found == rule.score(item(*chosen), Answered(text, compat=compat))
        turned = rule.score(item(*reversed(chosen)), Answered(text, compat=compat))
        assert "argument drawn" in found.note or found.measures == turned.measures
        strict, loose = (found.measures[f"{kind}_instruction"].total for kind in ("strict", "loose"))
        assert strict <= loose


@given(st.lists(st.sampled_from(["word", "two", "我", "好吗"]), min_size=1, max_size=12))
def test_words_and_sentences_add_up(words: list[str]) -> None:
    text = " ".join(words)
    assert count_words(text, "default") == sum(len(word) if not word.isascii() else 1 for word in words)
    sentences = " ".join(f"{word.capitalize()}." if word.isascii() else f"{word}。" for word in words)
    assert count_sentences(sentences, "default") == len(words)
