"""LM corpora from tokenised speech, from clips of speech, and from texts: the formats text, speech, asr and tts.

Each format is a bulk job whose units write the shards of the corpus (`lm.data.corpus_job`), in worker processes here or
on a cluster.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.clip_job import ClipJob
from corpus.manifest import BadRecord
from runtime.artefact import atomic_path
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.unit_list import UNITS_FILE
from runtime.bulk.workers import ConfiguredWork, check_failed
from runtime.errors import UserError
from runtime.stage import Run

from .clip_source import reason_of
from .corpora import SPLITS, CorpusInfo, finished_corpus
from .corpus_job import finish_corpus
from .preparation_config import LmPrepareConfig
from .text_files import BROKEN_REMEDY
from .unit_preparation import num_files, open_preparer, open_source, plan_units
from .vector_clips import absolute_vectors
from .vector_config import VECTORS
from .vocabulary import Vocabulary

EARLY = 100_000  # records from which on a job ends as soon as too many are bad
MANIFEST_FILE = "bad_lines.jsonl"  # of a corpus's folder: bad lines of the manifests that its clips were searched in


@dataclass
class PreparedTotals:
    """Sums over the units of one split of a corpus.

    Attributes:
        records: number of all records.
        bad: number of those left out.
        broken: number of files that could not be read.
        first_bad: the first record left out.
        first_broken: the first broken file.
        left_out: reason -> number of records.
    """

    records: int = 0
    bad: int = 0
    broken: int = 0
    first_bad: BadRecord | None = None
    first_broken: BadRecord | None = None
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, result: dict[str, Any]) -> None:
        """Add the result of a unit."""
        self.records += result["records"]
        self.bad += len(result["bad"])
        self.broken += len(result["broken"])
        self.left_out.update(result["left_out"])
        if result["bad"] and self.first_bad is None:
            self.first_bad = BadRecord(*result["bad"][0])
        if result["broken"] and self.first_broken is None:
            self.first_broken = BadRecord(*result["broken"][0])

    def check(self, max_bad_share: float, files: int) -> None:
        """Raise a `UserError` that names the first bad record or broken file if they are too many."""
        if self.first_bad is not None and self.bad > max_bad_share * self.records:
            found = f"{self.first_bad.reason}; {self.bad} of {self.records} records are bad"
            remedy = f"correct the records, or raise max_bad_share={max_bad_share}: what was written is kept"
            raise UserError(self.first_bad.place, found=found, remedy=remedy)
        if self.first_broken is not None and self.broken > max_bad_share * files:
            found = f"{self.first_broken.reason}; {self.broken} of {files} files cannot be read"
            remedy = f"{BROKEN_REMEDY}, or raise max_bad_share={max_bad_share}: what was written is kept"
            raise UserError(self.first_broken.place, found=found, remedy=remedy)


def prepare_corpora(config: LmPrepareConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/<format>`` for each format that is not finished; returns documents and tokens of each.

    Records that were left out are listed in ``<out>/bad_records.jsonl``.
    """
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    search = ClipJob(run.folder / "clips", config, run, max_seconds=config.vectors.max_seconds)
    metrics: dict[str, Any] = {}
    for format in config.formats:
        folder = run.folder / format
        info = finished_corpus(folder, vocabulary)
        if info is None:
            try:
                info = prepare_corpus(config, format, vocabulary, search, run)
            finally:  # where they are too many, above all
                list_left_out(run.folder, [run.folder / one for one in config.formats])
        metrics |= corpus_metrics(info)
    search.tidy()
    return metrics


def prepare_corpus(
    config: LmPrepareConfig, format: str, vocabulary: Vocabulary, search: ClipJob, run: Run
) -> CorpusInfo:
    """Write the corpus of one format.

    Raises:
        UserError: too many bad records, broken files or failed units, or no document.
    """
    source = open_source(config, format, vocabulary)  # mistakes: before the job
    job = _open_job(config, format, search, run)
    work = ConfiguredWork(absolute(config), open_preparer)
    made = PreparedTotals()  # by this call
    with run.progress(len(job.units), f"corpus {format}", start=job.num_done(), unit="unit") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            made.add(record.result)
            if made.bad > config.max_bad_share * max(made.records, EARLY):
                break  # the workers are stopped before the error is raised
            bar.update()
    totals = {split: PreparedTotals() for split in SPLITS}
    for split, bad in _manifest_lines(job.root):
        totals[split].add({"records": 1, "bad": [bad], "broken": [], "left_out": {reason_of(bad[1]): 1}})
    for unit, record in job.records():
        totals[unit.work["split"]].add(record.result)
    for split, own in totals.items():
        own.check(config.max_bad_share, num_files(unit for unit in job.units if unit.work["split"] == split))
    check_failed(job, config.bulk.max_failed_share)
    provenance = {
        "stage": "lm.prepare",
        "sources": sources(config, format),
        "left_out": sum((own.left_out for own in totals.values()), Counter[str]()),
        "broken_files": sum(own.broken for own in totals.values()),
        "failed_units": len(job.failed_names()),
    }
    return finish_corpus(job, format, vocabulary, provenance, source.clips)


def _open_job(config: LmPrepareConfig, format: str, search: ClipJob, run: Run) -> UnitFolder:
    """The job of a format, planned if no earlier call has planned it."""
    folder = run.folder / format
    if (folder / UNITS_FILE).exists():
        return UnitFolder(folder, config.bulk.lease_seconds)
    found: dict[str, list[Path]] = {}
    if config.speech == VECTORS and config.corpus and format != "text":
        kinds, bad = config.kinds.get(format, ()), list[list[str]]()
        for split in SPLITS:
            if name := config.source_split(split):
                clips = search.search_split(Path(config.corpus), name, kinds=kinds, max_bad_share=config.max_bad_share)
                found[split] = clips.files
                bad += [[split, one.place, one.reason] for one in clips.bad]
        with atomic_path(folder / MANIFEST_FILE) as temporary:
            temporary.write_text("".join(json.dumps(one) + "\n" for one in bad), encoding="utf-8")
    return UnitFolder.create(folder, plan_units(config, format, found), config.bulk.lease_seconds)


def absolute(config: LmPrepareConfig) -> LmPrepareConfig:
    """The options of a worker, which may start in another folder."""
    vectors = absolute_vectors(config.vectors)
    return dataclasses.replace(config, vocabulary=str(Path(config.vocabulary).absolute()), vectors=vectors)


def sources(config: LmPrepareConfig, format: str) -> list[str]:
    """The files or folders that a format is made of."""
    if format == "text":
        return [config.texts, config.texts_heldout]
    return [config.tokens or config.corpus or config.vectors.features]


def corpus_metrics(info: CorpusInfo) -> dict[str, Any]:
    """Documents and tokens of a corpus, by flat names."""
    train, valid = info.splits["train"], info.splits["valid"]
    return {
        f"{info.format}_documents": train.documents,
        f"{info.format}_tokens": train.tokens,
        f"{info.format}_speech_tokens": train.speech_tokens,
        f"{info.format}_valid_documents": valid.documents,
        f"{info.format}_left_out": sum(info.provenance["left_out"].values()),
    }


def list_left_out(out: Path, jobs: Iterable[Path]) -> None:
    """Write ``bad_records.jsonl``: place and reason of each record that was left out, and of each broken file."""
    with atomic_path(out / "bad_records.jsonl") as temporary, temporary.open("w", encoding="utf-8") as lines:
        for folder in jobs:
            lines.writelines(_line(*bad) for _, bad in _manifest_lines(folder))
            if (folder / UNITS_FILE).exists():
                for _, record in UnitFolder(folder).records():
                    lines.writelines(_line(*bad) for bad in record.result["bad"] + record.result["broken"])


def _manifest_lines(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Split, and place and reason, of the bad lines of manifests."""
    with suppress(FileNotFoundError), (folder / MANIFEST_FILE).open(encoding="utf-8") as lines:
        for split, *bad in map(json.loads, lines):
            yield split, bad


def _line(place: str, reason: str) -> str:
    return json.dumps({"place": place, "reason": reason}, ensure_ascii=False) + "\n"
