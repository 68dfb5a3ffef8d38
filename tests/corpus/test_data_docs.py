"""The examples of docs/data.md are read as the page says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from corpus.audio.files import write_audio
from corpus.audio.segments import read_segment
from corpus.manifest import read_manifest
from corpus.text.spoken_form import in_words
from corpus.text.spoken_words import spoken_words

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_the_example_manifest_is_read(tmp_path: Path) -> None:
    (lines,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "train.jsonl").write_text(lines, encoding="utf-8")
    write_audio(tmp_path / "meeting.flac", np.ones(10 * 16000, dtype=np.float32) / 2)
    write_audio(tmp_path / "note.wav", np.ones(16000, dtype=np.float32) / 2)
    manifest = read_manifest(tmp_path / "train.jsonl", 0.0, needs_text=False)
    assert [len(read_segment(one.segment)) for one in manifest.utterances] == [56000, 16000]
    bad = read_manifest(tmp_path / "train.jsonl", 0.5).bad
    assert len(bad) == 1 and "an empty transcript" in bad[0].reason


def test_the_forms_of_a_text_are_those_of_the_table() -> None:
    (written,) = re.findall(r'\| form \| of "(.*?)" \| where \|', PAGE)
    forms = dict(re.findall(r"^\| (as written|in words|plain words) \| (.*?) \|", PAGE, re.MULTILINE))
    assert forms == {"as written": written, "in words": in_words(written), "plain words": spoken_words(written)}
