"""The bulk job of a text corpus whose spans are spoken, in whatever way: its end, the checks and sums of its units."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from corpus.audio.files import SAMPLE_RATE
from corpus.manifest import BadRecord, check_bad_share
from runtime.artefact import write_text
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.unit import UnitRecord
from runtime.bulk.workers import Work, check_failed
from runtime.errors import UserError
from runtime.stage import Run

from .config import SpokenTextsConfig
from .unit_file import SynthesisCounts


@dataclass
class SpokenTotals:
    """Sums over all units of a finished job.

    Attributes:
        counts: of documents and spans.
        bad: records left out.
        failed_units: number of units given up.
        cpu_seconds: of the workers.
        seconds: wall time of this call.
        made: counts of the units that this call finished.
    """

    counts: SynthesisCounts = field(default_factory=SynthesisCounts)
    bad: list[BadRecord] = field(default_factory=list)
    failed_units: int = 0
    cpu_seconds: float = 0.0
    seconds: float = 0.0
    made: SynthesisCounts = field(default_factory=SynthesisCounts)

    def metrics(self) -> dict[str, int | float]:
        """Figures of documents and spans that each such stage reports."""
        counts = self.counts
        return {
            "documents": counts.documents,
            "words": counts.words,
            "spans": counts.spans,
            "realised_ratio": round(counts.realised_ratio, 4),
            "chosen_ratio": round(counts.chosen_words / max(counts.words, 1), 4),
            "rejected_share": round(counts.rejected_share, 4),
            **{f"rejected_{reason}": count for reason, count in sorted(counts.rejected.items())},
            "bad_lines": len(self.bad),
            "failed_units": self.failed_units,
            "cpu_seconds": round(self.cpu_seconds, 1),
        }


def speak_texts(job: UnitFolder, work: Work, config: SpokenTextsConfig, run: Run) -> SpokenTotals:
    """Finish the units that are not done; writes ``bad_records.jsonl``.

    Raises:
        UserError: too many bad records or failed units.
    """
    totals = SpokenTotals()
    _finish(job, work, config, run, totals)
    check_failed(job, config.bulk.max_failed_share)
    job.tidy()
    for _, record in job.records():
        totals.counts.merge(record.result)
        totals.cpu_seconds += record.cpu_seconds
    totals.failed_units = len(job.failed_names())
    totals.bad = _bad_records(job)
    check_bad_share(totals.bad, _num_records(job), config.max_bad_share)
    lines = [json.dumps(vars(record), ensure_ascii=False) + "\n" for record in totals.bad]
    write_text(run.folder / "bad_records.jsonl", "".join(lines))
    return totals


def check_rejected(totals: SpokenTotals, config: SpokenTextsConfig, subject: str, remedy: str) -> None:
    """Raise a `UserError` about ``subject`` where too many spans fail the gate."""
    counts = totals.counts
    if counts.rejected_share > config.max_rejected_share:
        reason = max(counts.rejected, key=lambda one: counts.rejected[one])
        found = f"{counts.num_rejected} of {counts.spans} spans fail the gate, most as {reason!r}"
        raise UserError(subject, found=found, remedy=remedy)


def _finish(job: UnitFolder, work: Work, config: SpokenTextsConfig, run: Run, totals: SpokenTotals) -> None:
    """Run the job until it is finished or has too many bad records."""
    num_records, num_bad, made = _num_records(job), 0, totals.made
    done_before = sum(_num_of(record) for _, record in job.records())
    started = time.monotonic()
    with run.progress(num_records, "synthesis", start=done_before, unit="document") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            made.merge(record.result)
            num_bad += len(record.result["bad"])
            if num_bad > config.max_bad_share * num_records:
                break  # the workers are stopped before the error is raised
            seconds = time.monotonic() - started
            speed = {"tokens_per_second": made.tokens / seconds}
            if made.samples:
                speed = {"times_real_time": made.samples / SAMPLE_RATE / seconds}
            bar.update(_num_of(record), **speed, rejected=made.rejected_share)
    if num_bad > config.max_bad_share * num_records:
        check_bad_share(_bad_records(job), num_records, config.max_bad_share)
    totals.seconds = time.monotonic() - started


def _num_records(job: UnitFolder) -> int:
    return sum(int(unit.work["count"]) for unit in job.units)


def _num_of(record: UnitRecord) -> int:
    return int(record.result["documents"]) + len(record.result["bad"])


def _bad_records(job: UnitFolder) -> list[BadRecord]:
    """The records left out of all units that are done."""
    return [BadRecord(place, reason) for _, record in job.records() for place, reason in record.result["bad"]]
