"""The folder of a bulk job: units of work, each done exactly once by any number of workers on any machines.

::

    <folder>/units.jsonl           the frozen list of units: what the job is, fixed before the work begins
             leases/<unit>.<n>     attempt n at a unit was claimed (`runtime.bulk.lease`); .error: its traceback
             <unit>.<attempt>.*    what an attempt writes; only the winner's files are renamed to <unit>.*
             done/<unit>.done.json the unit is done: made by one atomic link, so that the first finisher wins
             journals/*            the done records (`runtime.bulk.unit_records`)
             failed/<unit>.txt     failed in all its attempts: their tracebacks; the job goes on

From the thousandth unit on the names have a numbered folder (``train/0001/unit-001000``). A worker keeps one byte a
unit in memory, and lists a folder of marks only when it comes to its units: the millionth costs as much as the first.

A worker claims a unit by making the next attempt's lease; an attempt whose lease is stale is followed by another one.
Output files are named after the unit, never after a worker, and their content must depend on the unit alone. So a
killed worker, a changed number of workers, a record that breaks the program or a stopped process that wakes up late
cost at most some work on that unit. The file system must have atomic exclusive creation, hard links and modification
times; no locks are used. The folder may be shared by machines whose clocks differ.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from runtime.artefact import write_text
from runtime.errors import UserError

from .attempt import UnitAttempt
from .lease import Clock, Heartbeat, Lease, is_held
from .unit import ATTEMPT_PREFIX, Unit, UnitRecord, done_file, failed_file
from .unit_list import FOLDER_UNITS, UNITS_FILE, UnitList, is_list_of, write_units
from .unit_records import RecordJournal, RecordLedger, output_file, read_record

MAX_ERRORS = 3  # exceptions after which a unit has failed
MAX_LOST_ATTEMPTS = 6  # deaths of workers after which a unit has failed
LEASE_SECONDS = 60.0
MAX_JUMPS = 8  # to other parts of the list, from units that others work at, before every unit is looked at
WORTH_LISTING = 16  # unsettled units of a block for which its folder is listed, rather than each of them looked up


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
        self.units = UnitList(self.root)
        self.clock = Clock(self.root / "leases" / f".clock-{os.getpid()}-{secrets.token_hex(4)}")
        self.heartbeat = Heartbeat(lease_seconds)
        self.journal = RecordJournal(self.root)
        self._settled = bytearray(len(self.units))
        self._next: int | None = None  # place in the list where the next `claim` starts
        self._block = -1  # that was visited last

    @classmethod
    def create(cls, root: Path | str, units: Iterable[Unit], lease_seconds: float = LEASE_SECONDS) -> UnitFolder:
        """Freeze the list of units in ``root``; a list that is there already must be the same.

        Raises:
            UserError: another list is there, or the file system has no hard links.
        """
        folder = Path(root)
        if (folder / UNITS_FILE).exists():
            if not is_list_of(folder, units):
                found, remedy = "the units of another job", "choose another out=, or remove that folder"
                raise UserError(str(folder), found=found, remedy=remedy)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            check_links(folder)
            write_units(folder, units)
        job = cls(folder, lease_seconds)
        (folder / "journals").mkdir(exist_ok=True)
        for parent in job.parents():
            for part in ("", "leases", "done", "failed"):
                (folder / part / parent).mkdir(parents=True, exist_ok=True)
        return job

    # -- claiming -----------------------------------------------------------------------------------------------

    def claim(self, number: int = 0, workers: int = 1) -> UnitAttempt | None:
        """An attempt at some unit that is not leased; None if there is none at the moment.

        Args:
            number: of the worker, from 0; workers begin at different places.
            workers: how many there are.
        """
        count = len(self.units)
        start = count * number // max(workers, 1) if self._next is None else self._next
        jumps = 0
        while True:
            for at in self._unsettled(start):
                if (attempt := self._attempt(at)) is not None:
                    self._next = at
                    return attempt
                if not self._settled[at] and jumps < MAX_JUMPS:
                    # In step with another worker, each would look at the other's lease before every unit.
                    jumps, start = jumps + 1, random.randrange(count)
                    break
            else:
                return None

    def is_settled(self) -> bool:
        """Whether every unit is done or has failed."""
        self._block = -1
        return not any(not self._is_settled(at) for at in self._unsettled(0))

    def _unsettled(self, start: int) -> Iterator[int]:
        """Places of the units that are not known to be settled, from ``start`` on and round."""
        for first, end in ((start, len(self.units)), (0, start)):
            at = first
            while (at := self._settled.find(0, at, end)) >= 0:
                if at // FOLDER_UNITS != self._block:
                    self._block = at // FOLDER_UNITS
                    self._visit(self._block)
                    continue
                yield at
                at += 1

    def _visit(self, block: int) -> None:
        """Note which units of a block are settled, if a listing of its folders is worth it."""
        first = block * FOLDER_UNITS
        if self._settled.count(0, first, first + FOLDER_UNITS) < WORTH_LISTING:
            return
        units = self.units.block(block)
        settled: set[str] = set()
        for parent in {PurePosixPath(unit.name).parent for unit in units}:
            for part, suffix in ((self.root / "done", ".done.json"), (self.root / "failed", ".txt")):
                settled |= {(parent / name).as_posix() for name in _listed(part / parent, suffix)}
        for at, unit in enumerate(units, first):
            self._settled[at] |= unit.name in settled

    def _is_settled(self, at: int) -> bool:
        name = self.units[at].name
        self._settled[at] = done_file(self.root, name).exists() or failed_file(self.root, name).exists()
        return bool(self._settled[at])

    def _attempt(self, at: int) -> UnitAttempt | None:
        unit = self.units[at]
        errors: list[Path] = []
        num_lost = 0
        for number in itertools.count(1):
            if self._is_settled(at):
                return None
            path = self.root / "leases" / f"{unit.name}.{number}"
            lease = Lease.claim(path, self.heartbeat)
            if lease is not None:
                # Another worker may have finished the unit, and removed its leases, since we looked.
                if not self.is_done(unit):
                    return UnitAttempt(self.journal, unit, at, number, lease)
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
            failed_file(self.root, unit.name), f"{json.dumps({'name': unit.name, 'work': unit.work})}\n\n{text}{lost}"
        )

    # -- reading ------------------------------------------------------------------------------------------------

    def num_done(self) -> int:
        """Number of the units that are done."""
        return sum(1 for _ in _walk(self.root / "done", ".done.json"))

    def is_done(self, unit: Unit) -> bool:
        """Whether a unit is done."""
        return done_file(self.root, unit.name).exists()

    def failed_names(self) -> list[str]:
        """Names of the units that failed in all their attempts, sorted; without those finished by a late worker."""
        return sorted(name for name in _walk(self.root / "failed", ".txt") if not done_file(self.root, name).exists())

    def failure(self, name: str) -> str:
        """The reason of a unit's failure: the last line of its tracebacks."""
        lines = (self.root / "failed" / f"{name}.txt").read_text(encoding="utf-8").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def record(self, unit: Unit) -> UnitRecord:
        """The record of a unit that is done. (`records` reads many of them at once.)"""
        return read_record(self.root, unit.name)

    def records(self) -> Iterator[tuple[Unit, UnitRecord]]:
        """Units that are done, in the list's order, with their records."""
        with contextlib.closing(RecordLedger(self.root, self.units)) as ledger:
            for _ in ledger.refresh():
                pass
            names, listed = set[str](), ""
            for at, unit in enumerate(self.units):
                record = ledger.read(at)
                if record is None:
                    # Not done, done by an earlier version, or in a journal that this machine does not see yet.
                    parent = PurePosixPath(unit.name).parent.as_posix()
                    if parent != listed:
                        names, listed = set(_listed(self.root / "done" / parent, ".done.json")), parent
                    if PurePosixPath(unit.name).name not in names:
                        continue
                    record = read_record(self.root, unit.name)
                yield unit, record

    @contextlib.contextmanager
    def new_records(self) -> Iterator[Callable[[], Iterator[UnitRecord]]]:
        """A function that returns the records of the units done since its last call, or since the context was entered.

        It reads what was appended to the journals, and lists no other folder.
        """
        with contextlib.closing(RecordLedger(self.root, self.units)) as ledger:
            for _ in ledger.refresh():
                pass

            def read_new() -> Iterator[UnitRecord]:
                for number in ledger.refresh():
                    if (record := ledger.read(number)) is not None:
                        yield record

            yield read_new

    def path(self, unit: Unit, suffix: str) -> Path:
        """An output file of a unit that is done."""
        return output_file(self.root, unit.name, suffix)

    def status(self, *, with_totals: bool = False) -> Status:
        """Progress of the job; sums over the done records only ``with_totals``."""
        done, failed = self.num_done(), self.failed_names()
        working = {
            name.rsplit(".", 1)[0]
            for name in _walk(self.root / "leases", "")
            if name.rsplit(".", 1)[-1].isdigit()
            and not (self.root / "leases" / f"{name}.error").exists()
            and not done_file(self.root, name.rsplit(".", 1)[0]).exists()
            and not failed_file(self.root, name.rsplit(".", 1)[0]).exists()
            and is_held(self.root / "leases" / name, self.lease_seconds, self.clock)
        }
        totals: dict[str, float] = {}
        for _, record in self.records() if with_totals else ():
            times = {"cpu_seconds": record.cpu_seconds, "worker_seconds": record.seconds}
            for key, value in (times | record.result).items():
                if isinstance(value, int | float):
                    totals[key] = totals.get(key, 0) + value
        return Status(len(self.units), done, len(working), failed, totals)

    # -- resetting and cleaning ---------------------------------------------------------------------------------

    def reset_failed(self) -> None:
        """Reset the attempt counters of failed units and of those whose workers died."""
        self._settled[:] = bytes(len(self.units))
        for name in self.failed_names():
            (self.root / "failed" / f"{name}.txt").unlink(missing_ok=True)
        for name in list(_walk(self.root / "leases", ".error")):
            for remnant in (f"{name}.error", name):
                (self.root / "leases" / remnant).unlink(missing_ok=True)
        for name in list(_walk(self.root / "leases", "")):
            lease = self.root / "leases" / name
            if lease.suffix[1:].isdigit() and not is_held(lease, self.lease_seconds, self.clock):
                lease.unlink(missing_ok=True)

    def tidy(self) -> None:
        """After the job: name all outputs after their units, and remove leases and the files of dead attempts."""
        ledger = RecordLedger(self.root, self.units)
        done_here = sum(1 for _ in ledger.refresh())
        if done_here < self.num_done():  # by an earlier version
            for unit, record in self.records():
                for suffix in record.files:
                    self.path(unit, suffix)
        for unit in map(self.units.__getitem__, ledger.last_numbers()):
            for suffix in self.record(unit).files:
                self.path(unit, suffix)
        for parent in self.parents():
            for place in (self.root / parent, self.root / "done" / parent):
                for name in [name for name in _listed(place, "") if f".{ATTEMPT_PREFIX}" in name]:
                    (place / name).unlink(missing_ok=True)
        shutil.rmtree(self.root / "leases", ignore_errors=True)
        if not any(_walk(self.root / "failed", "")):
            shutil.rmtree(self.root / "failed", ignore_errors=True)

    def parents(self) -> list[str]:
        """The folders of the units' files below the job's."""
        return sorted({PurePosixPath(unit.name).parent.as_posix() for unit in self.units})


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


def _listed(folder: Path, suffix: str) -> Iterator[str]:
    """Names, without suffix, of the files in ``folder`` that end in it; none where there is no such folder."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and not entry.name.startswith(".") and not entry.is_dir():
                    yield entry.name[: len(entry.name) - len(suffix)]
    except FileNotFoundError:
        return


def _walk(folder: Path, suffix: str, prefix: str = "") -> Iterator[str]:
    """As `_listed`, in all folders below ``folder`` too: relative names."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield from _walk(folder / entry.name, suffix, f"{prefix}{entry.name}/")
                elif entry.name.endswith(suffix) and not entry.name.startswith("."):
                    yield prefix + entry.name[: len(entry.name) - len(suffix)]
    except FileNotFoundError:
        return
