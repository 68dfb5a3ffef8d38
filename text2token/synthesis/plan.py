"""Plan of the bulk synthesis: texts cut into units of work, fixed before the work begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from lm.data.text_files import RecordRange, cut_file, list_files
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.bulk.unit_list import UNITS_FILE
from runtime.errors import UserError

from .config import SpokenTextsConfig

SPLITS = ("train", "valid")
MAX_UNIT_BYTES = 16 << 20  # of JSON lines: units of long documents have fewer of them


def open_job(folder: Path, config: SpokenTextsConfig) -> UnitFolder:
    """The job in ``folder``, planned if no earlier call has planned it.

    Raises:
        UserError: no texts.
    """
    if (folder / UNITS_FILE).exists():
        return UnitFolder(folder, config.bulk.lease_seconds)
    units: list[Unit] = []
    for split, source in zip(SPLITS, (config.texts, config.texts_heldout), strict=True):
        parts = list(_cut(source, config)) if source else []
        for number in range(config.passes if split == "train" else 1):
            units += [
                Unit(f"{split}/pass-{number}-unit-{at:06d}", {"split": split, "pass": number, **asdict(part)})
                for at, part in enumerate(parts)
            ]
    if not any(unit.work["split"] == "train" for unit in units):
        raise UserError(config.texts, found="an empty file", remedy='write one {"id": ..., "text": ...} a line')
    return UnitFolder.create(folder, units, config.bulk.lease_seconds)


def record_range(unit: Unit) -> RecordRange:
    """The records of a unit."""
    return RecordRange(**{name: unit.work[name] for name in ("file", "first", "count", "offset", "skip")})


def _cut(source: str, config: SpokenTextsConfig) -> Iterator[RecordRange]:
    for file in list_files(source):
        yield from cut_file(file, config.columns, most=config.unit_documents, most_bytes=MAX_UNIT_BYTES)
