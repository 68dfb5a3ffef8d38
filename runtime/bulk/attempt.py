"""One try at a unit of bulk work: its lease, its files under names of its own, the atomic link that commits it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from runtime.artefact import write_text
from runtime.errors import UserError

from .lease import Lease

if TYPE_CHECKING:
    from .units import Unit, UnitFolder

MARK = "try"  # begins the name of an attempt, which its files bear until it has won


class UnitAttempt:
    """One try at a unit: write files to `path`, then `commit`, or `fail`. A context manager that ends the lease.

    Left by an exception that is neither (an interrupt, a full disk), it gives the lease back.
    """

    def __init__(self, folder: UnitFolder, unit: Unit, number: int, lease: Lease) -> None:
        self.folder, self.unit, self.lease = folder, unit, lease
        self.name = f"{MARK}{number}-{secrets.token_hex(4)}"
        self.files: list[str] = []
        self._error = lease.path.with_name(f"{lease.path.name}.error")
        self._is_over = False
        self._started = time.monotonic(), time.process_time()

    def path(self, suffix: str) -> Path:
        """Where to write the unit's file of this suffix."""
        if suffix not in self.files:
            self.files.append(suffix)
        return self.folder.root / f"{self.unit.name}.{self.name}.{suffix}"

    def commit(self, result: dict[str, Any]) -> bool:
        """Make the unit done, with these files and this result (plain data); False if another attempt was first."""
        for suffix in self.files:
            with self.path(suffix).open("rb") as written:
                os.fsync(written.fileno())
        wall, cpu = self._started
        record = {
            "attempt": self.name,
            "files": self.files,
            "result": result,
            "seconds": round(time.monotonic() - wall, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
        }
        done = self.folder.done_file(self.unit)
        proposal = done.with_name(f"{self.unit.name.rsplit('/', 1)[-1]}.{self.name}")
        with proposal.open("w", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(OSError):  # what counts is whether it has two names now: answers can be lost
            os.link(proposal, done)
        is_first = proposal.stat().st_nlink > 1
        if not is_first and not done.exists():
            raise UserError(str(done), found="no hard link can be made", remedy="choose a file system that has them")
        proposal.unlink()
        self._is_over = True
        if is_first:
            for suffix in self.files:
                self.folder.path(self.unit, suffix)
        else:
            self._remove()
        return is_first

    def fail(self) -> None:
        """Note the exception that is being handled; others may try."""
        write_text(self._error, traceback.format_exc())
        self._is_over = True
        self._remove()

    def _remove(self) -> None:
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
            self._remove()
            self.lease.give_back()
