"""Cost of the unit layer apart from the work: CPU a unit, a worker's memory, and what a kill in the middle repeats.

    python -m benchmarks.units --units 200000
    python -m benchmarks.units --units 1500000 --processes 4

Units without work are done by worker processes; in the middle the whole job is killed (SIGKILL) and begun again.
Printed are the workers' CPU time a unit over the first and the last tenth of the units, the memory of a worker when it
starts and at its end, the CPU time of the process that waits for them, and of a pass over all records.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import resource
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.bulk.workers import UnitFunction, finish_units
from runtime.command import Command
from runtime.config import Options, option

SAMPLE = 50  # units of a worker after which it notes its CPU time and memory


@dataclass(kw_only=True)
class UnitsBenchmarkConfig(Options):
    """Options of benchmarks.units.

    Attributes:
        units: number of units without work.
        processes: workers.
        kill_at: share of the units after which the job is killed and begun again (0: not at all).
        out: folder to work in ("" = a temporary one, removed at the end).
    """

    units: int = option(200_000, at_least=100)
    processes: int = option(4, at_least=1)
    kill_at: float = option(0.5, at_least=0, below=1)
    out: str = ""


@dataclass(frozen=True)
class NoWork:
    """Units without work; each worker notes its CPU seconds and memory in a file of its own in ``notes``."""

    notes: Path

    def start(self, number: int) -> UnitFunction:
        """Open the notes."""
        file = (self.notes / f"{number}-{os.getpid()}.jsonl").open("a", encoding="utf-8")
        count = itertools.count()

        def finish(attempt: UnitAttempt) -> dict[str, Any]:
            if next(count) % SAMPLE == 0:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                file.write(json.dumps([time.time(), time.process_time(), peak]) + "\n")
                file.flush()
            return {"tokens": 1}

        return finish


def run(options: UnitsBenchmarkConfig) -> None:
    """Measure and print."""
    with contextlib.ExitStack() as stack:
        place = Path(options.out or stack.enter_context(tempfile.TemporaryDirectory()))
        notes = place / "notes"
        notes.mkdir(parents=True)
        units = (Unit(f"train/unit-{number:07d}", {"number": number}) for number in range(options.units))
        started = time.process_time()
        folder = UnitFolder.create(place / "job", units)
        print(f"list of {options.units:,} units: {time.process_time() - started:.1f} CPU s", flush=True)
        repeated = 0
        if options.kill_at:
            before = _finish_until_killed(folder, notes, options)
            left = _finish(folder, notes, options.processes)
            repeated = before + left - options.units
        else:
            _finish(folder, notes, options.processes)
        started = time.process_time()
        numbers = Counter(unit.work["number"] for unit, _ in folder.records())
        seconds = time.process_time() - started
        assert len(numbers) == options.units and set(numbers.values()) == {1}
        print(f"pass over all records: {seconds:.1f} CPU s; each unit once; done again after the kill: {repeated}")
        started = time.process_time()
        folder.tidy()
        print(f"tidying: {time.process_time() - started:.1f} CPU s")
        _report(notes, options)


def _finish(folder: UnitFolder, notes: Path, processes: int) -> int:
    """Finish the job; returns the number of the units done by this call."""
    started, wall = time.process_time(), time.monotonic()
    count = sum(1 for _ in finish_units(folder, NoWork(notes), processes=processes))
    print(
        f"{count:,} units in {time.monotonic() - wall:.0f} s; this process: "
        f"{(time.process_time() - started) / max(count, 1) * 1e3:.3f} CPU ms a unit",
        flush=True,
    )
    return count


def _finish_until_killed(folder: UnitFolder, notes: Path, options: UnitsBenchmarkConfig) -> int:
    """Begin the job in a process group and kill it; returns the number of units done by then."""
    job = multiprocessing.get_context("fork").Process(target=_lead, args=(folder, notes, options.processes))
    job.start()
    assert job.pid is not None
    while job.is_alive() and folder.num_done() < options.kill_at * options.units:
        time.sleep(1 + options.units / 1e5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(job.pid, signal.SIGKILL)
    job.join()
    count = folder.num_done()
    print(f"killed after {count:,} units", flush=True)
    return count


def _lead(folder: UnitFolder, notes: Path, processes: int) -> None:
    os.setpgid(0, 0)
    _finish(folder, notes, processes)


def _report(notes: Path, options: UnitsBenchmarkConfig) -> None:
    samples = [list(_samples(file)) for file in sorted(notes.iterdir())]
    steps = sorted(
        (after[0], (after[1] - before[1]) / SAMPLE * 1e3)
        for worker in samples
        for before, after in itertools.pairwise(worker)
    )
    tenth = max(len(steps) // 10, 1)
    first, last = (sum(cost for _, cost in some) / tenth for some in (steps[:tenth], steps[-tenth:]))
    growth = max(worker[-1][2] - worker[0][2] for worker in samples)
    print(
        f"{options.processes} workers: {first:.3f} CPU ms a unit over the first tenth, {last:.3f} over the last "
        f"({last / first:.2f} times); memory of a worker {min(worker[0][2] for worker in samples):.0f} MiB at its "
        f"first unit, at most {growth:.1f} MiB more at its last"
    )


def _samples(file: Path) -> Iterator[tuple[float, float, float]]:
    with file.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):  # else torn by the kill
                when, cpu, memory = json.loads(line)
                yield when, cpu, memory


COMMAND = Command(
    name="benchmarks.units",
    words="benchmarks units",
    config=UnitsBenchmarkConfig,
    run=run,
    summary="Measure the cost of the unit layer at many units.",
    example="--units 200000",
)

if __name__ == "__main__":
    COMMAND.exit()
