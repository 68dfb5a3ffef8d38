"""Bulk work done exactly once: a folder of units of work that any number of workers, on any machines, finish together.

::

    <folder>/units.jsonl           the frozen list of units: what the job is, fixed before the work begins
             leases/<unit>.<n>     attempt n at a unit was claimed (`runtime.bulk.lease`); .error: its traceback
             <unit>.<attempt>.*    what an attempt writes; only the winner's files are renamed to <unit>.*
             done/<unit>.done.json the unit is done: made by one atomic link, so that the first finisher wins
             failed/<unit>.txt     given up after several attempts, with their tracebacks; the job goes on

A worker claims a unit by making the next attempt's lease; an attempt whose lease is stale is passed over by another
one. Outputs bear the name of the unit, never that of a worker, and what a unit holds must depend on the unit alone. So
a killed worker, a changed number of workers, a record that breaks the program or a stopped process that wakes up late
cost at most some work on that unit. It asks of a file system atomic exclusive creation, hard links and modification
times, no locks. The folder may be shared by machines whose clocks differ.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.artefact import write_text
from runtime.errors import UserError

from .attempt import MARK, UnitAttempt
from .lease import Clock, Lease, is_held

UNITS_FILE = "units.jsonl"
ATTEMPTS = 3  # exceptions after which a unit is given up
LOST_ATTEMPTS = 6  # deaths of workers after which a unit is given up
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Unit:
    """A piece of work.

    Attributes:
        name: unique, a relative path without suffix; the unit's output files bear it.
        work: plain data that tells what is to be done.
    """

    name: str
    work: dict[str, Any]


@dataclass(frozen=True)
class Status:
    """Where a job stands.

    Attributes:
        units: all of them.
        done: finished ones.
        working: those that a living worker holds.
        failed: names of those given up.
        totals: sums of the numbers in the results of the finished ones.
    """

    units: int
    done: int
    working: int
    failed: list[str]
    totals: dict[str, float] = field(default_factory=dict)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do."""
        return self.done + len(self.failed) >= self.units


class UnitFolder:
    """The folder of one job.

    Args:
        root: an existing job (`UnitFolder.create` makes one).
        lease_seconds: time without heartbeat after which a worker is taken for dead; the same for all workers.
    """

    def __init__(self, root: Path | str, lease_seconds: float = LEASE_SECONDS) -> None:
        self.root, self.lease_seconds = Path(root), lease_seconds
        self.units = read_units(self.root)
        self.clock = Clock(self.root / "leases" / f".clock-{os.getpid()}-{secrets.token_hex(4)}")
        self._settled: set[str] = set()
        self._next: int | None = None  # where `claim` goes on looking

    @classmethod
    def create(cls, root: Path | str, units: Sequence[Unit], lease_seconds: float = LEASE_SECONDS) -> UnitFolder:
        """Freeze the list of units in ``root``; a list that is there already must be the same.

        Raises:
            UserError: another list is there, or the file system has no hard links.
        """
        folder = Path(root)
        lines = "".join(json.dumps({"name": unit.name, "work": unit.work}) + "\n" for unit in units)
        if (folder / UNITS_FILE).exists():
            if (folder / UNITS_FILE).read_text(encoding="utf-8") != lines:
                found, remedy = "the units of another job", "choose another out=, or remove that folder"
                raise UserError(str(folder), found=found, remedy=remedy)
        else:
            assert all("." not in unit.name for unit in units) and len({unit.name for unit in units}) == len(units)
            folder.mkdir(parents=True, exist_ok=True)
            check_links(folder)
            write_text(folder / UNITS_FILE, lines)
        for part in ("", "leases", "done", "failed"):
            for place in {(folder / part / unit.name).parent for unit in units}:
                place.mkdir(parents=True, exist_ok=True)
        return cls(folder, lease_seconds)

    # -- working ------------------------------------------------------------------------------------------------

    def claim(self, number: int = 0, workers: int = 1) -> UnitAttempt | None:
        """An attempt at some unit that nobody works on; None if there is none at the moment.

        Args:
            number: of the worker, from 0; workers begin at different places.
            workers: how many there are.
        """
        count = len(self.units)
        start = count * number // max(workers, 1) if self._next is None else self._next
        for at in range(start, start + count):
            unit = self.units[at % count]
            if unit.name not in self._settled and (attempt := self._attempt(unit)) is not None:
                self._next = at % count
                return attempt
        return None

    def is_settled(self) -> bool:
        """Whether every unit is done or given up."""
        self._settled |= self.done_names() | _names(self.root / "failed", ".txt")
        return len(self._settled) >= len(self.units)

    def _attempt(self, unit: Unit) -> UnitAttempt | None:
        errors: list[Path] = []
        num_lost = 0
        for number in itertools.count(1):
            if self.done_file(unit).exists() or self.failed_file(unit).exists():
                self._settled.add(unit.name)
                return None
            path = self.root / "leases" / f"{unit.name}.{number}"
            lease = Lease.claim(path, self.lease_seconds)
            if lease is not None:
                if not self.done_file(unit).exists():  # it may have been finished, and its leases removed, just now
                    return UnitAttempt(self, unit, number, lease)
                lease.give_back()
                continue
            error = path.with_name(f"{path.name}.error")
            if error.exists():
                errors.append(error)
            elif is_held(path, self.lease_seconds, self.clock):
                return None
            else:
                num_lost += 1
            if len(errors) >= ATTEMPTS or num_lost >= LOST_ATTEMPTS:
                self._give_up(unit, errors, num_lost)
        return None

    def _give_up(self, unit: Unit, errors: list[Path], num_lost: int) -> None:
        text = "".join(f"attempt {number}:\n{error.read_text()}\n" for number, error in enumerate(errors, 1))
        lost = f"{num_lost} workers died at it (killed by the system, where memory ran out?)\n" if num_lost else ""
        write_text(self.failed_file(unit), f"{json.dumps({'name': unit.name, 'work': unit.work})}\n\n{text}{lost}")

    # -- looking ------------------------------------------------------------------------------------------------

    def done_names(self) -> set[str]:
        """Names of the units that are done."""
        return _names(self.root / "done", ".done.json")

    def failed_names(self) -> list[str]:
        """Names of the units that were given up and that nobody finished after all."""
        return sorted(_names(self.root / "failed", ".txt") - self.done_names())

    def failure(self, name: str) -> str:
        """Why a unit was given up: its last line of traceback."""
        lines = (self.root / "failed" / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def record(self, unit: Unit) -> dict[str, Any]:
        """The done record of a unit: ``result``, ``files`` (suffixes), ``attempt``, ``cpu_seconds``, ``seconds``."""
        return dict(json.loads(self.done_file(unit).read_text(encoding="utf-8")))

    def records(self) -> Iterator[tuple[Unit, dict[str, Any]]]:
        """Units that are done, in the list's order, with their records."""
        done = self.done_names()
        for unit in self.units:
            if unit.name in done:
                yield unit, self.record(unit)

    def path(self, unit: Unit, suffix: str) -> Path:
        """An output file of a unit that is done."""
        final = self.root / f"{unit.name}.{suffix}"
        if not final.exists():  # the winner was killed between commit and renaming
            with contextlib.suppress(FileNotFoundError):  # another one renames it at the same moment
                (self.root / f"{unit.name}.{self.record(unit)['attempt']}.{suffix}").rename(final)
        return final

    def status(self, *, with_totals: bool = False) -> Status:
        """Where the job stands."""
        done, failed = self.done_names(), self.failed_names()
        settled = done | set(failed)
        leases = [name for name in _names(self.root / "leases", "") if name.rsplit(".", 1)[-1].isdigit()]
        working = {
            name.rsplit(".", 1)[0]
            for name in leases
            if name.rsplit(".", 1)[0] not in settled
            and not (self.root / "leases" / f"{name}.error").exists()
            and is_held(self.root / "leases" / name, self.lease_seconds, self.clock)
        }
        totals: dict[str, float] = {}
        for _, record in self.records() if with_totals else ():
            times = {"cpu_seconds": record["cpu_seconds"], "worker_seconds": record["seconds"]}
            for key, value in (times | record["result"]).items():
                if isinstance(value, int | float):
                    totals[key] = totals.get(key, 0) + value
        return Status(len(self.units), len(done), len(working), failed, totals)

    # -- before and after ---------------------------------------------------------------------------------------

    def forgive(self) -> None:
        """Give units that were given up, and those whose workers died, all their attempts anew."""
        self._settled.clear()
        for name in self.failed_names():
            (self.root / "failed" / f"{name}.txt").unlink(missing_ok=True)
        for name in _names(self.root / "leases", ".error"):
            for remnant in (f"{name}.error", name):
                (self.root / "leases" / remnant).unlink(missing_ok=True)
        for name in _names(self.root / "leases", ""):
            lease = self.root / "leases" / name
            if lease.suffix[1:].isdigit() and not is_held(lease, self.lease_seconds, self.clock):
                lease.unlink(missing_ok=True)

    def tidy(self) -> None:
        """After the job: outputs get their units' names; leases and what dead attempts left behind are removed."""
        for unit, record in self.records():
            for suffix in record["files"]:
                self.path(unit, suffix)
        for place in {(self.root / part / unit.name).parent for unit in self.units for part in ("", "done")}:
            for file in place.glob(f"*.{MARK}*"):
                file.unlink(missing_ok=True)
        shutil.rmtree(self.root / "leases", ignore_errors=True)
        if not _names(self.root / "failed", ""):
            shutil.rmtree(self.root / "failed", ignore_errors=True)

    def done_file(self, unit: Unit) -> Path:
        """The record that makes a unit done."""
        return self.root / "done" / f"{unit.name}.done.json"

    def failed_file(self, unit: Unit) -> Path:
        """The tracebacks of a unit that was given up."""
        return self.root / "failed" / f"{unit.name}.txt"


def read_units(root: Path) -> list[Unit]:
    """The frozen list of a job.

    Raises:
        UserError: there is none, or it is damaged.
    """
    file = root / UNITS_FILE
    try:
        with file.open(encoding="utf-8") as lines:
            return [Unit(**json.loads(line)) for line in lines]
    except FileNotFoundError as error:
        raise UserError(str(root), found=f"no job (no {UNITS_FILE})", remedy="give the folder of a bulk job") from error
    except (ValueError, TypeError) as error:
        raise UserError(
            str(file), found=f"not a list of units ({error})", remedy="begin anew in an empty folder"
        ) from error


def check_links(folder: Path) -> None:
    """Raise a `UserError` where the file system has no hard links."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".links-") as place:
        one = Path(place, "one")
        one.touch()
        try:
            os.link(one, Path(place, "two"))
        except OSError as error:
            found, remedy = (
                f"no hard links there ({error.strerror})",
                "put out= on a POSIX file system (local, NFS, Lustre)",
            )
            raise UserError(str(folder), found=found, remedy=remedy) from error


def _names(folder: Path, suffix: str) -> set[str]:
    """Relative names, without suffix, of the files below ``folder`` that end in it."""
    found: set[str] = set()
    for place, _, files in os.walk(folder):
        prefix = Path(place).relative_to(folder).as_posix()
        prefix = "" if prefix == "." else prefix + "/"
        shown = (file for file in files if file.endswith(suffix) and not file.startswith("."))
        found.update(prefix + file[: len(file) - len(suffix)] for file in shown)
    return found
