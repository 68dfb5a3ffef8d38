"""Transcripts of a user's manifest: written out as they are said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import SAMPLE_RATE, write_audio
from corpus.recordings import read_recordings


@pytest.mark.parametrize(
    ("transcript", "said"),
    [
        ("That's $1,250.50!", "that's one thousand two hundred fifty dollars and fifty cents"),
        ("IT IS FIVE O'CLOCK", "it is five o'clock"),
        ("Dr. Smith", "doctor smith"),
    ],
)
def test_transcripts_are_the_words_that_are_said(tmp_path: Path, transcript: str, said: str) -> None:
    write_audio(tmp_path / "a.flac", np.zeros(SAMPLE_RATE, np.float32), is_durable=False)
    row = {"audio_filepath": "a.flac", "duration": 1.0, "text": transcript, "id": "0"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (utterance,) = read_recordings(tmp_path / "train.jsonl", 0.0).utterances
    assert utterance.text == said
