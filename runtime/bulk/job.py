"""The folder of a bulk job: units of work, each done exactly once by any number of workers on any machines.

::

    <folder>/units.jsonl           the frozen list of units: what the job is, fixed before the work begins
             leases/<unit>.<n>     attempt n at a unit was claimed (`runtime.bulk.lease`); .error: its traceback
             <unit>.<attempt>.*    what an attempt writes; only the winner's files are renamed to <unit>.*
             done/<unit>.done.json the unit is done: made by one atomic link, so that the first finisher wins
             failed/<unit>.txt     failed in all its attempts: their tracebacks; the job goes on

A worker claims a unit by making the next attempt's lease; an attempt whose lease is stale is followed by another one.
Output files are named after the unit, never after a worker, and their content must depend on the unit alone. So a
killed worker, a changed number of workers, a record that breaks the program or a stopped process that wakes up late
cost at most some work on that unit. The file system must have atomic exclusive creation, hard links and modification
times; no locks are used. The folder may be shared by machines whose clocks differ.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from runtime.artefact import write_text
from runtime.errors import UserError

from .attempt import UnitAttempt
from .lease import Clock, Lease, is_held
from .unit import ATTEMPT_PREFIX, Unit, UnitRecord, done_file, failed_file, output_file, read_record

UNITS_FILE = "units.jsonl"
MAX_ERRORS = 3  # exceptions after which a unit has failed
MAX_LOST_ATTEMPTS = 6  # deaths of workers after which a unit has failed
LEASE_SECONDS = 60.0


@dataclass(frozen=True)
class Status:
    """Progress of a job.

    Attributes:
        units: number of all units.
        done: number of finished ones.
        working: number of those leased by a living worker.
        failed: names of the units that failed in all their attempts.
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
        lease_seconds: time without heartbeat after which a worker counts as dead; the same for all workers.
    """

    def __init__(self, root: Path | str, lease_seconds: float = LEASE_SECONDS) -> None:
        self.root, self.lease_seconds = Path(root), lease_seconds
        self.units = read_units(self.root)
        self.clock = Clock(self.root / "leases" / f".clock-{os.getpid()}-{secrets.token_hex(4)}")
        self._settled: set[str] = set()
        self._next: int | None = None  # place in the list where the next `claim` starts

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

    # -- claiming -----------------------------------------------------------------------------------------------

    def claim(self, number: int = 0, workers: int = 1) -> UnitAttempt | None:
        """An attempt at some unit that is not leased; None if there is none at the moment.

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
        """Whether every unit is done or has failed."""
        self._settled |= self.done_names() | _names(self.root / "failed", ".txt")
        return len(self._settled) >= len(self.units)

    def _attempt(self, unit: Unit) -> UnitAttempt | None:
        errors: list[Path] = []
        num_lost = 0
        for number in itertools.count(1):
            if done_file(self.root, unit).exists() or failed_file(self.root, unit).exists():
                self._settled.add(unit.name)
                return None
            path = self.root / "leases" / f"{unit.name}.{number}"
            lease = Lease.claim(path, self.lease_seconds)
            if lease is not None:
                # Another worker may have finished the unit, and removed its leases, since we looked.
                if not done_file(self.root, unit).exists():
                    return UnitAttempt(self.root, unit, number, lease)
                lease.give_back()
                continue
            error = path.with_name(f"{path.name}.error")
            if error.exists():
                errors.append(error)
            elif is_held(path, self.lease_seconds, self.clock):
                return None
            else:
                num_lost += 1
            if len(errors) >= MAX_ERRORS or num_lost >= MAX_LOST_ATTEMPTS:
                self._write_failure(unit, errors, num_lost)
        return None

    def _write_failure(self, unit: Unit, errors: list[Path], num_lost: int) -> None:
        text = "".join(f"attempt {number}:\n{error.read_text()}\n" for number, error in enumerate(errors, 1))
        lost = f"{num_lost} workers died at it (killed by the system, where memory ran out?)\n" if num_lost else ""
        write_text(
            failed_file(self.root, unit), f"{json.dumps({'name': unit.name, 'work': unit.work})}\n\n{text}{lost}"
        )

    # -- reading ------------------------------------------------------------------------------------------------

    def done_names(self) -> set[str]:
        """Names of the units that are done."""
        return _names(self.root / "done", ".done.json")

    def failed_names(self) -> list[str]:
        """Names of the units that failed in all their attempts, sorted; without those finished by a late worker."""
        return sorted(_names(self.root / "failed", ".txt") - self.done_names())

    def failure(self, name: str) -> str:
        """The reason of a unit's failure: the last line of its tracebacks."""
        lines = (self.root / "failed" / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def record(self, unit: Unit) -> UnitRecord:
        """The record of a unit that is done."""
        return read_record(self.root, unit)

    def records(self) -> Iterator[tuple[Unit, UnitRecord]]:
        """Units that are done, in the list's order, with their records."""
        done = self.done_names()
        for unit in self.units:
            if unit.name in done:
                yield unit, self.record(unit)

    def path(self, unit: Unit, suffix: str) -> Path:
        """An output file of a unit that is done."""
        return output_file(self.root, unit, suffix)

    def status(self, *, with_totals: bool = False) -> Status:
        """Progress of the job; sums over the done records only ``with_totals``."""
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
            times = {"cpu_seconds": record.cpu_seconds, "worker_seconds": record.seconds}
            for key, value in (times | record.result).items():
                if isinstance(value, int | float):
                    totals[key] = totals.get(key, 0) + value
        return Status(len(self.units), len(done), len(working), failed, totals)

    # -- resetting and cleaning ---------------------------------------------------------------------------------

    def reset_failed(self) -> None:
        """Reset the attempt counters of failed units and of those whose workers died."""
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
        """After the job: name all outputs after their units, and remove leases and the files of dead attempts."""
        for unit, record in self.records():
            for suffix in record.files:
                self.path(unit, suffix)
        for place in {(self.root / part / unit.name).parent for unit in self.units for part in ("", "done")}:
            for file in place.glob(f"*.{ATTEMPT_PREFIX}*"):
                file.unlink(missing_ok=True)
        shutil.rmtree(self.root / "leases", ignore_errors=True)
        if not _names(self.root / "failed", ""):
            shutil.rmtree(self.root / "failed", ignore_errors=True)


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
