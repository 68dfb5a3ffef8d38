"""Features of a corpus: the job over its units, the shards and the index of each split put in place."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from corpus.features import (
    FeatureRecord,
    FeatureUtterance,
    read_feature_index,
    write_feature_index,
    write_feature_record,
)
from runtime.bulk.workers import ConfiguredWork
from runtime.stage import Run
from tokenizer.hearing.load import load_encoder

from .bulk_speech import Split
from .config import FeaturesConfig
from .speech_job import SpeechJob, speech_job
from .unit_features import open_feature_encoder

ROWS_AT_ONCE = 65_536  # of an index


def encode_features(config: FeaturesConfig, run: Run) -> dict[str, Any]:
    """Encode all units that are not done, then put each split in place; returns the stage's metrics."""
    # Workers on other machines may have another working directory.
    source = str(Path(config.encoder).absolute())
    encoder = load_encoder(source, config.layer)  # here, so that a wrong one is named before the work begins
    work = ConfiguredWork(dataclasses.replace(config, encoder=source), open_feature_encoder)
    with speech_job(config, run, work) as job:
        splits = {split.name: place_split(split, job, run.folder) for split in job.splits}
        record = FeatureRecord(
            encoder=encoder.fingerprint,
            source=source,
            layer=encoder.layer,
            positions_per_second=encoder.positions_per_second,
            width=encoder.width,
            sample_rate=encoder.sample_rate,
            splits=splits,
        )
        write_feature_record(run.folder, record)
        return measure(job, encoder.width) | job.metrics


def place_split(split: Split, job: SpeechJob, folder: Path) -> int:
    """Link a split's shards and write its index, of a manifest in its order; returns the number of utterances."""
    (folder / split.name).mkdir(exist_ok=True)
    for part in job.parts(split, "npy"):
        with contextlib.suppress(FileExistsError):  # of a call that was killed here
            os.link(part, folder / split.name / part.name)
    indexes = (list(read_feature_index(part)) for part in job.parts(split, "parquet"))
    if split.manifest is None:
        return write_feature_index(folder / f"{split.name}.parquet", indexes)
    by_id = {item.id: item for index in indexes for item in index}
    rows = [by_id[utterance.id] for utterance in split.manifest.utterances if utterance.id in by_id]
    return write_feature_index(folder / f"{split.name}.parquet", cut(rows, ROWS_AT_ONCE))


def cut(rows: Sequence[FeatureUtterance], size: int) -> Iterator[Sequence[FeatureUtterance]]:
    """Rows in parts of at most ``size``."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def measure(job: SpeechJob, width: int) -> dict[str, Any]:
    """Metrics of all units together."""
    results = [record.result for _, record in job.units.records()]
    positions = sum(result["positions"] for result in results)
    return {
        "utterances": sum(result["utterances"] for result in results),
        "positions": positions,
        "hours": sum(result["audio_seconds"] for result in results) / 3600,
        "megabytes": positions * width * 2 / 1e6,
    }
