"""Encoding of a corpus: its splits cut into units, the job of encoding them, the tokens of each split joined."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from corpus.manifest import BadRecord, check_bad_share
from corpus.tokens import read_tokens, write_tokens
from runtime.artefact import write_text
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.workers import ConfiguredWork, check_failed
from runtime.errors import UserError
from runtime.stage import Run
from tokenizer.scoring.codebook_use import CodebookUse

from .bulk_speech import Split, find_split
from .config import EncodeConfig
from .unit_encoder import open_encoder


def encode_corpus(config: EncodeConfig, run: Run) -> dict[str, Any]:
    """Encode all units that are not done, then put each split together; returns the stage's metrics."""
    splits = find_splits(config)
    units = [unit for split in splits for unit in split.units]
    job = UnitFolder.create(run.folder / "parts", units, config.bulk.lease_seconds)
    # Workers on other machines may have another working directory.
    work = ConfiguredWork(dataclasses.replace(config, tokenizer=str(Path(config.tokenizer).absolute())), open_encoder)
    started, audio_seconds = time.monotonic(), 0.0
    with run.progress(len(units), "encoding", start=len(job.done_names()), unit="unit") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            audio_seconds += record.result["audio_seconds"]
            bar.update(times_real_time=audio_seconds / (time.monotonic() - started))
    seconds = time.monotonic() - started
    check_failed(job, config.bulk.max_failed_share)
    bad = bad_records(splits, job, config.max_bad_share)
    lines = [json.dumps(vars(record), ensure_ascii=False) + "\n" for record in bad]
    write_text(run.folder / "bad_records.jsonl", "".join(lines))
    for split in splits:
        join_split(split, job, run.folder)
    metrics = measure(job) | {"bad_records": len(bad), "failed_units": len(job.failed_names())}
    shutil.rmtree(run.folder / "parts", ignore_errors=True)
    return metrics | {"times_real_time": audio_seconds / seconds if audio_seconds else 0.0}


def find_splits(config: EncodeConfig) -> list[Split]:
    """The splits that the corpus has."""
    found = [
        find_split(
            Path(config.corpus),
            name,
            kinds=config.kinds,
            unit_utterances=config.unit_utterances,
            max_bad_share=config.max_bad_share,
        )
        for name in config.splits
    ]
    splits = [split for split in found if split is not None]
    if not splits:
        raise UserError(config.corpus, found=f"none of {config.splits}", remedy="run corpus.build, or set splits")
    return splits


def bad_records(splits: list[Split], job: UnitFolder, max_bad_share: float) -> list[BadRecord]:
    """The records left out, of manifests and of units.

    Raises:
        UserError: more than ``max_bad_share`` of all records.
    """
    bad = [record for split in splits if split.manifest for record in split.manifest.bad]
    num_records = sum(split.num_records for split in splits if split.manifest)
    for unit, record in job.records():
        result = record.result
        bad += [BadRecord(*entry) for entry in result["bad"]]
        if "ids" not in unit.work:  # a shard, whose records are counted as it is read
            num_records += result["utterances"] + len(result["bad"])
    check_bad_share(bad, num_records, max_bad_share)
    return bad


def join_split(split: Split, job: UnitFolder, folder: Path) -> None:
    """The tokens of a split: in the manifest's order as ``<split>.parquet``, else shard by shard in ``<split>/``."""
    done = job.done_names()
    parts = [job.path(unit, "parquet") for unit in split.units if unit.name in done]
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
