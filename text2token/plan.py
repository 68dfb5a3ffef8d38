"""The bulk job's plan: texts cut into units of work, fixed before the work begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from runtime.bulk.job import UNITS_FILE, UnitFolder
from runtime.bulk.unit import Unit
from runtime.errors import UserError

from .texts import Columns, RecordRange, cut_file, list_files

SPLITS = ("train", "valid")
MOST_BYTES = 16 << 20  # of a unit: long documents make units of fewer


def open_job(
    folder: Path,
    sources: dict[str, str],
    columns: Columns,
    *,
    passes: int,
    unit_documents: int,
    lease_seconds: float,
) -> UnitFolder:
    """The job in ``folder``; made, if no call before this one has made it.

    Args:
        folder: the run folder.
        sources: split -> source of texts ("" = none).
        columns: of text and id.
        passes: passes over the training texts, each with other spans; held-out texts are gone through once.
        unit_documents: documents of a unit at most.
        lease_seconds: see `UnitFolder`.
    """
    if (folder / UNITS_FILE).exists():
        return UnitFolder(folder, lease_seconds)
    units: list[Unit] = []
    for split, source in sources.items():
        cuts = list(_cut(source, columns, unit_documents)) if source else []
        for number in range(passes if split == "train" else 1):
            units += [
                Unit(f"{split}/pass-{number}-unit-{at:06d}", {"split": split, "pass": number, **asdict(part)})
                for at, part in enumerate(cuts)
            ]
    if not any(unit.work["split"] == "train" for unit in units):
        raise UserError(sources["train"], found="an empty file", remedy='write one {"id": ..., "text": ...} a line')
    return UnitFolder.create(folder, units, lease_seconds)


def part_of(unit: Unit) -> RecordRange:
    """What a unit reads."""
    return RecordRange(**{name: unit.work[name] for name in ("file", "first", "count", "offset", "skip")})


def _cut(source: str, columns: Columns, unit_documents: int) -> Iterator[RecordRange]:
    for file in list_files(source):
        yield from cut_file(file, columns, most=unit_documents, most_bytes=MOST_BYTES)
