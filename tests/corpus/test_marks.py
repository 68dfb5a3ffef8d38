"""A manifest of Hindi: the transcript keeps its vowel signs through import."""

import json
from pathlib import Path

import numpy as np

from corpus.audio.files import SAMPLE_RATE, write_audio
from corpus.recordings import read_recordings


def test_transcripts_keep_their_marks(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.flac", np.zeros(SAMPLE_RATE, np.float32), is_durable=False)
    row = {"audio_filepath": "a.flac", "duration": 1.0, "text": "किताब मेज़ पर है", "id": "0"}
    (tmp_path / "train.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n", encoding="utf-8")
    manifest = read_recordings(tmp_path / "train.jsonl", 0.0)
    assert [utterance.text for utterance in manifest.utterances] == ["किताब मेज़ पर है"]
