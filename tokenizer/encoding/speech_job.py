"""A bulk job over a corpus of speech: units found in its splits, worked off, bad records counted and listed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.manifest import BadRecord, check_bad_share, list_bad_records
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.workers import Work, check_failed
from runtime.errors import UserError
from runtime.stage import Run

from .bulk_speech import Split, find_split
from .config import SpeechJobConfig


@dataclass(frozen=True)
class SpeechJob:
    """A job whose units are settled.

    Attributes:
        splits: of the corpus.
        units: the job's folder, with the files of its units.
        metrics: numbers of bad records and failed units, and the speed of this call.
    """

    splits: list[Split]
    units: UnitFolder
    metrics: dict[str, Any]

    def parts(self, split: Split, suffix: str) -> list[Path]:
        """The files of a split's finished units, in order."""
        first = 0
        for one in self.splits:
            if one is split:
                break
            first += len(one.units)
        units = self.units.units[first : first + len(split.units)]  # their names, unlike the split's, are the files'
        return [self.units.path(unit, suffix) for unit in units if self.units.is_done(unit)]


@contextmanager
def speech_job(config: SpeechJobConfig, run: Run, work: Work) -> Iterator[SpeechJob]:
    """Work off all units that are not done, and list bad records; yields the settled job.

    Its units are deleted when the context ends, unless by an exception. A unit's result has ``utterances``,
    ``audio_seconds`` and ``bad`` (places and reasons).

    Raises:
        UserError: too many bad records or failed units.
    """
    splits = find_splits(config)
    units = [unit for split in splits for unit in split.units]
    job = UnitFolder.create(run.folder / "parts", units, config.bulk.lease_seconds)
    started, audio_seconds = time.monotonic(), 0.0
    with run.progress(len(units), "encoding", start=job.num_done(), unit="unit") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            audio_seconds += record.result["audio_seconds"]
            bar.update(times_real_time=audio_seconds / (time.monotonic() - started))
    seconds = time.monotonic() - started
    check_failed(job, config.bulk.max_failed_share)
    bad = bad_records(splits, job, config.max_bad_share)
    list_bad_records(run.folder, bad)
    speed = {"times_real_time": audio_seconds / seconds if audio_seconds else 0.0}
    yield SpeechJob(splits, job, {"bad_records": len(bad), "failed_units": len(job.failed_names())} | speed)
    shutil.rmtree(job.root, ignore_errors=True)


def find_splits(config: SpeechJobConfig) -> list[Split]:
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
