from __future__ import annotations

import pytest

from corpus.world.closed_world import World
from evaluation.judges.dictionary import missing_words, pronunciations
from runtime.errors import UserError


def test_every_pronunciation_of_just_these_words() -> None:
    assert pronunciations(["the", "cup", "the"]) == "cup K AH P\nthe DH AH\nthe(2) DH IY\n"


def test_a_word_without_pronunciation_is_named() -> None:
    with pytest.raises(UserError, match=r"1 of 2 words: \['strawbery'\] \(near: strawberry"):
        pronunciations(["the", "strawbery"])


def test_the_judge_can_pronounce_the_closed_world() -> None:
    assert missing_words(World().vocabulary) == []
