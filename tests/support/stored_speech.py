"""A manifest of short utterances, and stored vectors of them, of as many frames as their number decides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from corpus.features import FeatureRecord, FeatureUtterance, write_feature_index, write_feature_record

NAMES, WIDTH = ("anna", "tom", "lucy", "peter"), 4


def text_of(number: int) -> str:
    """The transcript of an utterance."""
    return f"{NAMES[number % 4]} has {number} cups"


def save_stored_speech(folder: Path, count: int) -> list[str]:
    """Write ``m.jsonl`` and ``features/``; utterance ``u<n>`` has 3 + n % 5 vectors. Returns the transcripts."""
    first, items = 0, []
    for number in range(count):
        frames = 3 + number % 5
        text = text_of(number)
        items.append(FeatureUtterance(f"u{number}", text, frames / 12.5, "ann", "en", "", "train/0.npy", first, frames))
        first += frames
    (folder / "features" / "train").mkdir(parents=True)
    rows = np.random.default_rng(0).standard_normal((first, WIDTH)).astype(np.float16)
    np.save(folder / "features" / "train" / "0.npy", rows)
    write_feature_index(folder / "features" / "train.parquet", [items])
    record = FeatureRecord(
        encoder="hearing", source="encoder", layer="back", positions_per_second=12.5, width=WIDTH, sample_rate=16000,
        splits={"train": count},
    )  # fmt: skip
    write_feature_record(folder / "features", record)
    lines = [
        {"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": 1.0, "text": text_of(number)}
        for number in range(count)
    ]
    (folder / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [text_of(number) for number in range(count)]
