"""Units of work, their done records, and the places of their marks in a job's folder.

The layout of the folder is described in `runtime.bulk.job`.
"""

from __future__ import annotations

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
    """The done record of a unit (`runtime.bulk.unit_records`).

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


def done_file(root: Path, name: str) -> Path:
    """The mark that makes the unit ``name`` of the job in ``root`` done."""
    return root / "done" / f"{name}.done.json"


def failed_file(root: Path, name: str) -> Path:
    """The tracebacks of a unit that has failed for good."""
    return root / "failed" / f"{name}.txt"
