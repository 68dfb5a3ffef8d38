"""Readers of lists: long JSON files piece by piece."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from corpus.published import records
from corpus.published.records import array_elements
from runtime.errors import UserError

AUDIOS = [{"path": "a.opus", "segments": [{"text": 'a "], [" ß', "begin_time": 0.5}]}, {}, {"path": "ä" * 50}]


@pytest.mark.parametrize("block", [1, 2, 7, 64, 1 << 20])
def test_elements_of_an_array_are_those_of_the_whole_file(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BLOCK", block)
    for indent in (None, 2):
        text = json.dumps({"dataset": "x", "audios": AUDIOS, "more": [1]}, ensure_ascii=indent is None, indent=indent)
        (tmp_path / "all.json").write_text(text, encoding="utf-8")
        assert list(array_elements(tmp_path / "all.json", "audios")) == AUDIOS


def test_a_file_that_breaks_off_and_one_without_the_array(tmp_path: Path) -> None:
    file = tmp_path / "all.json"
    file.write_text(json.dumps({"audios": AUDIOS})[:-40])
    with pytest.raises(UserError, match='the array "audios" breaks off'):
        list(array_elements(file, "audios"))
    file.write_text("{}")
    with pytest.raises(UserError, match='no array "audios"'):
        list(array_elements(file, "audios"))
