"""Encoding of a corpus: its splits cut into units, the job of encoding them, the tokens of each split joined."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from corpus.tokens import read_tokens, write_tokens
from runtime.bulk.job import UnitFolder
from runtime.bulk.workers import ConfiguredWork
from runtime.stage import Run
from tokenizer.scoring.codebook_use import CodebookUse

from .bulk_speech import Split
from .config import EncodeConfig
from .speech_job import speech_job
from .unit_encoder import open_encoder


def encode_corpus(config: EncodeConfig, run: Run) -> dict[str, Any]:
    """Encode all units that are not done, then put each split together; returns the stage's metrics."""
    # Workers on other machines may have another working directory.
    work = ConfiguredWork(dataclasses.replace(config, tokenizer=str(Path(config.tokenizer).absolute())), open_encoder)
    with speech_job(config, run, work) as job:
        for split in job.splits:
            join_split(split, job.parts(split, "parquet"), run.folder)
        return measure(job.units) | job.metrics


def join_split(split: Split, parts: list[Path], folder: Path) -> None:
    """The tokens of a split: in the manifest's order as ``<split>.parquet``, else shard by shard in ``<split>/``."""
    if split.manifest is None:
        (folder / split.name).mkdir(exist_ok=True)
        for part in parts:
            with contextlib.suppress(FileExistsError):  # of a call that was killed here
                os.link(part, folder / split.name / part.name)
        return
    speech = [read_tokens(part) for part in parts]
    by_id = {item.id: item for part in speech for item in part.items}
    write_tokens(
        folder / f"{split.name}.parquet",
        [by_id[utterance.id] for utterance in split.manifest.utterances if utterance.id in by_id],
        tokenizer=speech[0].tokenizer,
        codebook_size=speech[0].codebook_size,
        frame_rate=speech[0].frame_rate,
    )


def measure(job: UnitFolder) -> dict[str, Any]:
    """Metrics of all units together, read unit by unit."""
    utterances, duration, counts = 0, 0.0, np.zeros(0, dtype=np.int64)
    for unit, record in job.records():
        part = read_tokens(job.path(unit, "parquet"))
        use = CodebookUse.of([item.tokens for item in part.items], part.codebook_size)
        counts = use.counts + (counts if len(counts) else 0)
        utterances += record.result["utterances"]
        duration += record.result["audio_seconds"]
    use = CodebookUse(counts)
    return {
        "utterances": utterances,
        "tokens": int(counts.sum()),
        "hours": duration / 3600,
        "codebook_use": use.share,
        "perplexity": use.perplexity,
    }
