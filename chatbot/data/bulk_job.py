"""Dialogues in units of work, done exactly once (`runtime.bulk`): texts/<split>.jsonl -> <split>/unit-*.jsonl."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import BulkConfig, run_job
from runtime.bulk.unit import Unit
from runtime.bulk.unit_list import UNITS_FILE
from runtime.bulk.workers import Work, check_failed
from runtime.errors import UserError
from runtime.stage import Run

from .dialogue_files import Dialogue, DialogueFingerprints, parse_dialogue, record_of

FOLDERS = {"train": "dialogues", "heldout": "heldout"}


def open_job(folder: Path, splits: Mapping[str, int], *, unit_dialogues: int, lease_seconds: float) -> UnitFolder:
    """The job in ``folder``; made, if no call before this one has made it.

    Args:
        folder: the run folder, with texts/<split>.jsonl.
        splits: split -> dialogues.
        unit_dialogues: of a unit.
        lease_seconds: see `UnitFolder`.
    """
    if (folder / UNITS_FILE).exists():
        return UnitFolder(folder, lease_seconds)
    units = [
        Unit(f"{FOLDERS[split]}/unit-{at:06d}", {"split": split} | part)
        for split in splits
        for at, part in enumerate(_cut(folder / "texts" / f"{split}.jsonl", unit_dialogues))
    ]
    return UnitFolder.create(folder, units, lease_seconds)


def _cut(file: Path, most: int) -> Iterator[dict[str, int]]:
    start = offset = count = 0
    with file.open("rb") as lines:
        for line in lines:
            offset, count = offset + len(line), count + 1
            if count == most:
                yield {"offset": start, "count": count}
                start, count = offset, 0
    if count:
        yield {"offset": start, "count": count}


def read_part(folder: Path, unit: Unit) -> list[Dialogue]:
    """The dialogues of a unit, without tokens yet."""
    with (folder / "texts" / f"{unit.work['split']}.jsonl").open("rb") as lines:
        lines.seek(unit.work["offset"])
        records = [json.loads(lines.readline()) for _ in range(unit.work["count"])]
    return [parse_dialogue(record, "", folder, 0) for record in records]


def write_part(attempt: UnitAttempt, dialogues: list[Dialogue], fingerprints: DialogueFingerprints) -> None:
    """Write a unit's dialogues. (The attempt's commit makes them permanent.)"""
    path = attempt.path("jsonl")
    folder = path.parent.absolute()
    lines = [json.dumps(record_of(dialogue, folder), ensure_ascii=False) + "\n" for dialogue in dialogues]
    path.write_text(fingerprints.line() + "".join(lines), encoding="utf-8")


def finish_job(job: UnitFolder, work: Work, bulk: BulkConfig, *, processes: int, run: Run) -> Counter[str]:
    """Finish all units; the sums of their results (``left_out`` as ``left_out.<reason>``).

    Raises:
        UserError: too many failed units.
    """
    num_dialogues = sum(int(unit.work["count"]) for unit in job.units)
    start = sum(int(unit.work["count"]) for unit in job.units if job.is_done(unit))
    with run.progress(num_dialogues, "speech", start=start, unit="dialogue") as bar:
        for record in run_job(job, work, bulk, processes=processes):
            bar.update(int(record.result["dialogues"]) + sum(record.result["left_out"].values()))
    check_failed(job, bulk.max_failed_share)
    job.tidy()
    total: Counter[str] = Counter()
    for _, record in job.records():
        result = dict(record.result)
        left_out = result.pop("left_out")
        total.update({name: value for name, value in result.items() if isinstance(value, int)})
        total.update({f"left_out.{reason}": count for reason, count in left_out.items()})
    return total


def check_left_out(total: Counter[str], max_share: float, subject: str, remedy: str) -> None:
    """Raise a `UserError` if too many dialogues were left out."""
    left_out = {name.split(".", 1)[1]: count for name, count in total.items() if name.startswith("left_out.")}
    num_left_out = sum(left_out.values())
    if num_left_out > max_share * (num_left_out + total["dialogues"]):
        reason = max(left_out, key=lambda one: left_out[one])
        found = f"{num_left_out} of {num_left_out + total['dialogues']} dialogues left out, most for: {reason}"
        raise UserError(subject, found=found, remedy=remedy)


def result_of(dialogues: list[Dialogue], left_out: Counter[str]) -> dict[str, Any]:
    """Counts of a unit's content and of the dialogues left out, as plain data."""
    tokens = [len(turn.tokens) for one in dialogues for turn in one.turns if turn.tokens is not None]
    return {
        "dialogues": len(dialogues),
        "exchanges": sum(len(one.turns) for one in dialogues) // 2,
        "tokens": sum(tokens),
        "left_out": dict(sorted(left_out.items())),
    }
