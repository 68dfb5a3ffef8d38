"""Work for the tests of units, in a module of its own so that worker processes can import it."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.units import Unit, UnitFolder
from runtime.bulk.workers import finish_units
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

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
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


def units(count: int) -> list[Unit]:
    return [Unit(f"part-{number % 2}/unit-{number:03d}", {"seed": 11 * number}) for number in range(count)]


def main(root: str, processes: str, permits: str) -> None:
    """A job whose units need permits."""
    work = Rationed(Sums(Path(root) / "log"), Permits(Path(permits)))
    for _ in finish_units(UnitFolder(root), work, processes=int(processes)):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
