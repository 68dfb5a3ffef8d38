"""Work for the tests of units, in a module of its own so that worker processes can import it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.bulk.workers import UnitFunction, finish_units, run_worker
from runtime.errors import UserError

from .permits import Permits, Rationed


@dataclass(frozen=True)
class Sums:
    """Writes numbers that depend on the unit alone, slowly; notes who worked at what in ``log``."""

    log: Path
    seconds: float = 0.02
    poison: str = ""  # a unit that raises
    deadly: str = ""  # a unit that kills its worker
    stopping: str = ""  # a unit whose first worker is stopped
    is_broken: bool = False

    def start(self, number: int) -> UnitFunction:
        if self.is_broken:
            raise UserError("model", found="no weights", remedy="give some")
        return self.finish

    def finish(self, attempt: UnitAttempt) -> dict[str, Any]:
        unit = attempt.unit
        with self.log.open("a") as log:
            log.write(f"{unit.name} {attempt.name} {os.getpid()}\n")
        draw = random.Random(unit.work["seed"])
        for suffix in ("bin", "idx"):
            with attempt.path(suffix).open("wb") as file:
                file.write(draw.randbytes(100))
                file.flush()
                time.sleep(self.seconds)
                file.write(draw.randbytes(100))
        if unit.name == self.poison:
            raise ValueError("a poisoned record")
        if unit.name == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if unit.name == self.stopping and attempt.name.startswith("try1-"):
            os.kill(os.getpid(), signal.SIGSTOP)
        return {"sum": unit.work["seed"] % 7}


def open_sums(config: Sums, number: int) -> UnitFunction:
    """A worker function of `ConfiguredWork`."""
    return config.start(number)


def units(count: int) -> list[Unit]:
    return [Unit(f"part-{number % 2}/unit-{number:03d}", {"seed": 11 * number}) for number in range(count)]


def files(root: Path) -> dict[str, bytes]:
    """The output files of a job of `units`."""
    return {str(file.relative_to(root)): file.read_bytes() for file in sorted(root.glob("part-*/*"))}


def clean(root: Path, count: int = 24) -> dict[str, bytes]:
    """The output files of a job in which nothing goes wrong."""
    folder = UnitFolder.create(root, units(count))
    assert len(list(finish_units(folder, Sums(root / "log", seconds=0), processes=1))) == count
    folder.tidy()
    return files(root)


def check_whole(folder: UnitFolder, expected: dict[str, bytes]) -> None:
    """Each unit of a job is done once, with the bytes of a clean run."""
    folder.tidy()
    assert files(folder.root) == expected
    assert [unit.name for unit, _ in folder.records()] == [unit.name for unit in folder.units]
    assert all(record.result == {"sum": unit.work["seed"] % 7} for unit, record in folder.records())
    assert sorted(file.name for file in (folder.root / "done").rglob("*") if file.is_file()) == sorted(
        f"{unit.name.split('/')[1]}.done.json" for unit in folder.units
    )


def run_rationed(root: str, processes: str, permits: str) -> None:
    """A job whose units need permits, done by processes of its own."""
    work = Rationed(Sums(Path(root) / "log"), Permits(Path(permits)))
    for _ in finish_units(UnitFolder(root), work, processes=int(processes)):
        pass


def run_stopping(root: str, lease_seconds: str, name: str) -> None:
    """A worker that is stopped at the unit ``name``."""
    work = Sums(Path(root) / "log", seconds=0.01, stopping=name)
    for _ in run_worker(UnitFolder(root, float(lease_seconds)), work):
        pass


if __name__ == "__main__":  # python -m tests.support.unit_work run_rationed ROOT PROCESSES PERMITS
    {"run_rationed": run_rationed, "run_stopping": run_stopping}[sys.argv[1]](*sys.argv[2:])
