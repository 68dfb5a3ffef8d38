"""One attempt at a unit of work: its lease, its files under names of their own, the atomic link that commits it."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.artefact import write_text

from .lease import Lease
from .unit import ATTEMPT_PREFIX, Unit, UnitRecord
from .unit_records import RecordJournal


class UnitAttempt:
    """One attempt at a unit: write files to `path`, then `commit`, or `fail`. A context manager that ends the lease.

    Left by an exception that is neither (an interrupt, a full disk), it gives the lease back.

    Args:
        journal: of this process, in the job's folder.
        unit: to be done.
        place: of the unit in the list, from 0.
        number: of the attempt, from 1.
        lease: held for it; removed when it is committed.
    """

    def __init__(self, journal: RecordJournal, unit: Unit, place: int, number: int, lease: Lease) -> None:
        self.root, self.unit, self.lease = journal.root, unit, lease
        self.name = f"{ATTEMPT_PREFIX}{number}-{secrets.token_hex(4)}"
        self.files: list[str] = []
        self._error = lease.path.with_name(f"{lease.path.name}.error")
        self._journal, self._place = journal, place
        self._is_committed = self._has_failed = False
        self._started = time.monotonic(), time.process_time()

    def path(self, suffix: str) -> Path:
        """The path to write the unit's file of this suffix to."""
        if suffix not in self.files:
            self.files.append(suffix)
        return self.root / f"{self.unit.name}.{self.name}.{suffix}"

    def commit(self, result: dict[str, Any], warnings: Iterable[str] = ()) -> bool:
        """Make the unit done, with these files and this result (plain data); False if another attempt was first."""
        for suffix in self.files:
            with self.path(suffix).open("rb") as written:
                os.fsync(written.fileno())
        wall, cpu = self._started
        record = UnitRecord(
            attempt=self.name,
            files=self.files,
            result=result,
            seconds=round(time.monotonic() - wall, 3),
            cpu_seconds=round(time.process_time() - cpu, 3),
            warnings=list(warnings),
        )
        is_first = self._journal.commit(self._place, self.unit.name, record)
        self._is_committed = True
        if is_first:
            for suffix in self.files:
                with contextlib.suppress(FileNotFoundError):  # a reader of the unit renames it at the same moment
                    self.path(suffix).rename(self.root / f"{self.unit.name}.{suffix}")
        else:
            self._remove_files()
        return is_first

    def fail(self) -> None:
        """Note the exception that is being handled; others may try."""
        write_text(self._error, traceback.format_exc())
        self._has_failed = True
        self._remove_files()

    def _remove_files(self) -> None:
        for suffix in self.files:
            self.path(suffix).unlink(missing_ok=True)

    def __enter__(self) -> UnitAttempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._has_failed:
            self.lease.__exit__(kind, error, trace)
            return
        if not self._is_committed:
            self._remove_files()
        self.lease.give_back()
