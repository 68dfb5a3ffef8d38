"""Laws of word errors: counts equal jiwer's, normal form, rates where no word was said."""

from __future__ import annotations

import math

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.word_errors import (
    CharacterErrors,
    WordErrors,
    character_errors,
    corpus_character_errors,
    corpus_word_errors,
    is_unspaced,
    total,
    word_errors,
)

TEXT = st.lists(st.sampled_from(["a", "b", "c", "it's"]), max_size=8).map(" ".join)


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
    assert word_errors(said, heard) == WordErrors(edits, words)


def test_the_total_weighs_words_not_sentences() -> None:
    assert total([WordErrors(1, 1), WordErrors(0, 9)]).rate == pytest.approx(0.1)
    assert total([]).rate_or_errors == 0 and math.isnan(total([]).rate)
    assert WordErrors(2, 0).rate_or_errors == 2


@given(TEXT, TEXT)
def test_word_errors_equal_jiwers(said: str, heard: str) -> None:
    if said:
        found = jiwer.process_words(said, heard)
        errors = found.substitutions + found.deletions + found.insertions
        assert word_errors(said, heard) == WordErrors(errors, len(said.split()))


def test_over_a_corpus_references_without_words_are_left_out() -> None:
    assert corpus_word_errors(["one two", "...", "three"], ["one", "four five", "three"]) == WordErrors(1, 3)


@pytest.mark.parametrize(
    ("said", "heard", "errors"),
    [
        ("今天天气很好。", "今天天很好", CharacterErrors(1, 6)),
        ("น้ำดี", "นำดี", CharacterErrors(1, 6)),  # a lost tone mark is an error
        ("a b", "ab", CharacterErrors(0, 2)),
    ],
)
def test_character_errors(said: str, heard: str, errors: CharacterErrors) -> None:
    assert character_errors(said, heard) == errors
    assert corpus_character_errors([said, "…"], [heard, "x"]) == errors


def test_a_lost_vowel_sign_is_a_word_error() -> None:
    assert word_errors("किताब मेज़ पर है", "कताब मेज़ पर है") == WordErrors(1, 4)


def test_scripts_without_spaces() -> None:
    assert is_unspaced(["今天", "天气 ok"]) and is_unspaced(["วันนี้"])
    assert not is_unspaced(["the cat"]) and not is_unspaced(["किताब"]) and not is_unspaced([])


def test_what_is_said_alike_is_no_error() -> None:
    assert (
        word_errors(
            "It costs $1,250.50 in May 1990.",
            "it costs one thousand two hundred fifty dollars and fifty cents in may nineteen ninety",
        ).errors
        == 0
    )
    assert word_errors("it costs five dollars", "It costs $5.") == WordErrors(0, 4)
    assert word_errors("it costs five dollars", "It costs $6.") == WordErrors(1, 4)
    assert corpus_character_errors(["\u4ed6\u67095\u4e2a"], ["\u4ed6\u6709\u4e94\u4e2a"]).errors == 0
