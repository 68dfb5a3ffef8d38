"""Synthesis of a text corpus: the bulk job over its units, the checks of its results, their sums."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from corpus.manifest import BadRecord, check_bad_share
from lm.data.vocabulary import Vocabulary
from runtime.artefact import write_text
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.unit import UnitRecord
from runtime.bulk.workers import check_failed
from runtime.errors import UserError
from runtime.stage import Run, input_fingerprint
from text2token.transcript_check import TranscriptCheck

from .config import SynthesizeConfig
from .plan import open_job
from .unit_file import SynthesisCounts
from .unit_synthesis import SynthesisWork


def synthesise_corpus(config: SynthesizeConfig, run: Run) -> dict[str, Any]:
    """Finish the units that are not done; returns the metrics of all units together."""
    vocabulary = Vocabulary.from_pretrained(config.model)
    shares = config.shares_of(config.speakers, vocabulary)  # mistakes: before the job
    run.say(f"text2token.synthesize: {shares}")
    if config.readback:
        TranscriptCheck(config.readback, config.readback_wer, vocabulary)
    model = Path(config.model).absolute()  # workers may start elsewhere
    readback = config.readback and str(Path(config.readback).absolute())
    work = SynthesisWork(
        config=dataclasses.replace(config, model=str(model), readback=readback),
        model_fingerprint=input_fingerprint(model),
    )
    job = open_job(run.folder, config)
    tokens_per_second = _finish(job, work, run)
    check_failed(job, config.bulk.max_failed_share)
    job.tidy()
    total, cpu_seconds = SynthesisCounts(), 0.0
    for _, record in job.records():
        total.merge(record.result)
        cpu_seconds += record.cpu_seconds
    bad = _bad_records(job)
    check_bad_share(bad, _num_records(job), config.max_bad_share)
    lines = [json.dumps(vars(record), ensure_ascii=False) + "\n" for record in bad]
    write_text(run.folder / "bad_records.jsonl", "".join(lines))
    _check_rejected(total, config)
    return {
        "documents": total.documents,
        "words": total.words,
        "spans": total.spans,
        "tokens": total.tokens,
        "realised_ratio": round(total.realised_ratio, 4),
        "chosen_ratio": round(total.chosen_words / max(total.words, 1), 4),
        "rejected_share": round(total.rejected_share, 4),
        **{f"rejected_{reason}": count for reason, count in sorted(total.rejected.items())},
        "tokens_per_word": round(total.tokens / max(total.spoken_words, 1), 3),
        "bad_lines": len(bad),
        "failed_units": len(job.failed_names()),
        "tokens_per_second": round(tokens_per_second, 1),
        "cpu_seconds": round(cpu_seconds, 1),
    }


def _finish(job: UnitFolder, work: SynthesisWork, run: Run) -> float:
    """Run the job until it is finished or has too many bad records; returns the speech tokens a second."""
    config, num_records = work.config, _num_records(job)
    made, num_bad = SynthesisCounts(), 0
    done_before = sum(_num_of(record) for _, record in job.records())
    started = time.monotonic()
    with run.progress(num_records, "synthesis", start=done_before, unit="document") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            made.merge(record.result)
            num_bad += len(record.result["bad"])
            if num_bad > config.max_bad_share * num_records:
                break  # the workers are stopped before the error is raised
            speed = made.tokens / (time.monotonic() - started)
            bar.update(_num_of(record), tokens_per_second=speed, rejected=made.rejected_share)
    if num_bad > config.max_bad_share * num_records:
        check_bad_share(_bad_records(job), num_records, config.max_bad_share)
    return made.tokens / (time.monotonic() - started) if made.tokens else 0.0


def _num_records(job: UnitFolder) -> int:
    return sum(int(unit.work["count"]) for unit in job.units)


def _num_of(record: UnitRecord) -> int:
    return int(record.result["documents"]) + len(record.result["bad"])


def _bad_records(job: UnitFolder) -> list[BadRecord]:
    """The records left out of all units that are done."""
    return [BadRecord(place, reason) for _, record in job.records() for place, reason in record.result["bad"]]


def _check_rejected(total: SynthesisCounts, config: SynthesizeConfig) -> None:
    if total.rejected_share > config.max_rejected_share:
        reason = max(total.rejected, key=lambda one: total.rejected[one])
        found = f"{total.num_rejected} of {total.spans} spans fail the gate, most as {reason!r}"
        remedy = "train the model longer, widen the bounds gate.* and readback_wer, or raise max_rejected_share"
        raise UserError(config.model, found=found, remedy=remedy)
