"""Units of work and their places in a job's folder: output files, done records, reports of failed units.

The layout of the folder is described in `runtime.bulk.job`.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ATTEMPT_PREFIX = "try"  # of an attempt's name, which is part of its files' names until it is committed


@dataclass(frozen=True)
class Unit:
    """A piece of work.

    Attributes:
        name: unique, a relative path without suffix; the unit's output files are named after it.
        work: plain data that describes the work.
    """

    name: str
    work: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class UnitRecord:
    """The done record of a unit, as it stands in ``done/<unit>.done.json``.

    Attributes:
        attempt: name of the attempt that was committed.
        files: suffixes of the unit's output files.
        result: plain data that the work returned.
        seconds: wall time of the attempt.
        cpu_seconds: CPU time of the worker process during the attempt.
        warnings: of records that look wrong (`runtime.record_warnings`).
    """

    attempt: str
    files: list[str]
    result: dict[str, Any]
    seconds: float
    cpu_seconds: float
    warnings: list[str] = field(default_factory=list)


def done_file(root: Path, unit: Unit) -> Path:
    """The record that makes a unit of the job in ``root`` done."""
    return root / "done" / f"{unit.name}.done.json"


def failed_file(root: Path, unit: Unit) -> Path:
    """The tracebacks of a unit that has failed for good."""
    return root / "failed" / f"{unit.name}.txt"


def read_record(root: Path, unit: Unit) -> UnitRecord:
    """The record of a unit that is done."""
    return UnitRecord(**json.loads(done_file(root, unit).read_text(encoding="utf-8")))


def output_file(root: Path, unit: Unit, suffix: str) -> Path:
    """An output file of a unit that is done; finishes its renaming where the committing worker was killed before."""
    final = root / f"{unit.name}.{suffix}"
    if not final.exists():
        with contextlib.suppress(FileNotFoundError):  # another process renames it at the same moment
            (root / f"{unit.name}.{read_record(root, unit).attempt}.{suffix}").rename(final)
    return final
