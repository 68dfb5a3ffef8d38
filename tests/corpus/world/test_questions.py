from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.world.questions import read_questions
from runtime.errors import UserError

PARIS = {
    "id": "a",
    "question": "What is the capital of France?",
    "answer": "paris",
    "reply": "the capital of france is paris",
    "topic": "capital",
    "split": "train",
}


def write(folder: Path, *records: object) -> Path:
    (folder / "questions.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_questions_are_found_by_their_words(tmp_path: Path) -> None:
    found = read_questions(write(tmp_path, PARIS, PARIS | {"id": "b", "question": "name the capital of france"}))
    assert found["what is the capital of france"].answer == "paris"
    assert set(found) == {"what is the capital of france", "name the capital of france"}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "no question"),
        (["paris"], "line 1"),
        ([PARIS, {"id": "b"}], "line 2: no 'question'"),
        ([PARIS, PARIS | {"id": "b", "answer": "rome"}], "answered 'rome' here and 'paris' before"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, records: list[object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_questions(write(tmp_path, *records))
    with pytest.raises(UserError, match="no such file"):
        read_questions(tmp_path / "elsewhere")
