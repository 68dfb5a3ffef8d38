"""One attempt at a unit of work: its lease, its files under names of their own, the atomic link that commits it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from runtime.artefact import write_text
from runtime.errors import UserError

from .lease import Lease
from .unit import ATTEMPT_PREFIX, Unit, UnitRecord, done_file, output_file


class UnitAttempt:
    """One attempt at a unit: write files to `path`, then `commit`, or `fail`. A context manager that ends the lease.

    Left by an exception that is neither (an interrupt, a full disk), it gives the lease back.

    Args:
        root: the job's folder.
        unit: to be done.
        number: of the attempt, from 1.
        lease: held for it.
    """

    def __init__(self, root: Path, unit: Unit, number: int, lease: Lease) -> None:
        self.root, self.unit, self.lease = root, unit, lease
        self.name = f"{ATTEMPT_PREFIX}{number}-{secrets.token_hex(4)}"
        self.files: list[str] = []
        self._error = lease.path.with_name(f"{lease.path.name}.error")
        self._is_over = False
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
        is_first = self._link(record)
        self._is_over = True
        if is_first:
            for suffix in self.files:
                output_file(self.root, self.unit, suffix)
        else:
            self._remove_files()
        return is_first

    def fail(self) -> None:
        """Note the exception that is being handled; others may try."""
        write_text(self._error, traceback.format_exc())
        self._is_over = True
        self._remove_files()

    def _link(self, record: UnitRecord) -> bool:
        """Link the record to the unit's done file: atomic, and refused where there is one already."""
        done = done_file(self.root, self.unit)
        proposal = done.with_name(f"{self.unit.name.rsplit('/', 1)[-1]}.{self.name}")
        with proposal.open("w", encoding="utf-8") as file:
            file.write(json.dumps(vars(record), ensure_ascii=False))
            file.flush()
            os.fsync(file.fileno())
        # A network file system may lose the answer to a link that it made, so the outcome of the call decides nothing:
        # the link was made if the proposal has two names now.
        with contextlib.suppress(OSError):
            os.link(proposal, done)
        is_first = proposal.stat().st_nlink > 1
        if not is_first and not done.exists():
            raise UserError(str(done), found="no hard link can be made", remedy="choose a file system that has them")
        proposal.unlink()
        return is_first

    def _remove_files(self) -> None:
        for suffix in self.files:
            self.path(suffix).unlink(missing_ok=True)

    def __enter__(self) -> UnitAttempt:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_over:
            self.lease.__exit__(kind, error, trace)
        else:
            self._remove_files()
            self.lease.give_back()
