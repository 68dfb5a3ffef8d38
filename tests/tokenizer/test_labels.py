"""Laws of the labels: round trips, CTC decoding, clear errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.text.normalisation import normalise
from corpus.text.spoken_words import spoken_words
from runtime.errors import UserError
from tokenizer.labels import Labels, num_ctc_frames

TEXTS = ["the cat sat on the mat", "where is the cat", "o'clock is a word", "the dog and the cat ran"]


def test_round_trip_and_same_units_each_time(tmp_path: Path) -> None:
    labels = Labels.from_texts(TEXTS, 48)
    assert labels.size <= 48
    for text in TEXTS:
        assert labels.decode(labels.encode(text)) == text
    assert labels.encode("The CAT, sat!") == labels.encode("the cat sat")
    labels.save(tmp_path / "labels.json")
    again = Labels.from_texts(TEXTS, 48)
    again.save(tmp_path / "again.json")
    assert (tmp_path / "labels.json").read_text() == (tmp_path / "again.json").read_text()
    assert Labels.load(tmp_path / "labels.json").encode(TEXTS[1]) == labels.encode(TEXTS[1])


def test_ctc_paths() -> None:
    labels = Labels.from_texts(TEXTS, 48)
    ids = labels.encode("the cat sat")
    path = [step for label in ids for step in (0, label, label, 0, 0)]
    assert 0 not in ids and labels.decode_ctc(path) == "the cat sat"
    assert labels.decode_ctc([]) == labels.decode_ctc([0, 0]) == ""
    assert num_ctc_frames([]) == 0 and num_ctc_frames([5, 5, 6, 5]) == 5


def test_unknown_characters_have_a_label() -> None:
    labels = Labels.from_texts(TEXTS, 48)
    assert labels.encode("zzz") and max(labels.encode("zzz")) < labels.size


def test_errors_name_the_cause(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.num_labels.*distinct characters"):
        Labels.from_texts(TEXTS, 10)
    with pytest.raises(UserError, match="not one word"):
        Labels.from_texts(["...", ""], 40)
    with pytest.raises(UserError, match="no such file"):
        Labels.load(tmp_path / "labels.json")


def test_marks_of_a_script_are_labels() -> None:
    said = ["किताब मेज़ पर है", "น้ำดี", "שָׁלוֹם"]
    labels = Labels.from_texts(said, 64)
    assert all(labels.decode(labels.encode(text)) == normalise(text) for text in said)
    assert "ि" in labels.decode(labels.encode("किताब"))


def test_labels_are_of_the_words_that_are_said() -> None:
    said = ["that costs $1,250.50", "HE PAID 5%", "no more than one"]
    labels = Labels.from_texts(said, 60)
    for text in said:
        assert labels.decode(labels.encode(text)) == spoken_words(text) and labels.encode(text) == labels.encode(
            spoken_words(text)
        )
    assert not set("0123456789$%") & {unit for unit in labels.units.get_vocab() if len(unit) == 1}
