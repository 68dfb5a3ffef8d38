"""Laws of word errors: counts equal jiwer's, normal form, rates where no word was said."""

from __future__ import annotations

import math

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.text.word_errors import WordErrors, corpus_word_errors, total, word_errors

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
