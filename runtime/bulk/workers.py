"""Workers of a bulk job (`runtime.bulk.job`): the worker loop, and a local pool of worker processes.

The pool survives its workers: one that is killed is replaced, and its unit is taken over at once; a job ends when every
unit is done or has failed. The work is a picklable `Work` that is sent to each process. A stage's config is the natural
work: `ConfiguredWork` pairs it with a module-level function, so that no record has to mirror the config::

    def open_encoder(config: EncodeConfig, number: int) -> UnitFunction:
        tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer)  # once in each worker

        def encode(attempt: UnitAttempt) -> dict[str, Any]:
            attempt.path("parquet").write_bytes(...)
            return {"utterances": ...}

        return encode

    run_job(job, ConfiguredWork(config, open_encoder), config.bulk, processes=config.processes)

The function stands in the implementation module, which only the running stage and its workers import. Workers that
SLURM or Ray starts may have another working directory: make the paths in the config absolute before
(``dataclasses.replace(config, tokenizer=str(Path(config.tokenizer).absolute()))``).
"""

from __future__ import annotations

import errno
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from runtime.errors import UserError
from runtime.record_warnings import RecordWarning, collected_warnings

from .attempt import UnitAttempt
from .job import UnitFolder
from .unit import UnitRecord

FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
POLL = 0.1  # seconds
MAX_WORKER_RESTARTS = 12  # of workers without a unit finished in between: then something is wrong with all of them


UnitFunction = Callable[[UnitAttempt], dict[str, Any]]  # writes a unit's files, returns its result as plain data
Config = TypeVar("Config")


class Work(Protocol):
    """The work on the units of a job: picklable plain data."""

    def start(self, number: int) -> UnitFunction:
        """Prepare worker ``number`` (load a model, say).

        Returns:
            A function that writes a unit's files (to `UnitAttempt.path`) and returns its result: plain data. Both must
            depend on the unit alone.

        Raises:
            UserError: ends the job. Any exception of the function returned is a failure of that unit only.
        """
        ...


@dataclass(frozen=True)
class ConfiguredWork(Generic[Config]):
    """The `Work` of a stage: its config, and a module-level function that prepares a worker for it.

    Attributes:
        config: picklable.
        open_worker: called with the config and the worker's number; returns what `Work.start` returns.
    """

    config: Config
    open_worker: Callable[[Config, int], UnitFunction]

    def start(self, number: int) -> UnitFunction:
        """Prepare worker ``number``."""
        return self.open_worker(self.config, number)


def run_worker(folder: UnitFolder, work: Work, number: int = 0, workers: int = 1) -> Iterator[str]:
    """Worker loop: claim and process units until all are settled.

    Units leased by other workers are polled, and taken over if their worker dies.

    Args:
        folder: of the job.
        work: on the units.
        number: of this worker, from 0.
        workers: number of all workers.

    Yields:
        The name of each unit attempted.
    """
    finish = None
    while True:
        attempt = folder.claim(number, workers)
        if attempt is None:
            if folder.is_settled():
                return
            time.sleep(min(max(folder.lease_seconds / 20, POLL / 2), 2.0))
            continue
        with attempt:
            try:
                finish = finish or work.start(number)
                with collected_warnings() as warned:
                    result = finish(attempt)
            except Exception as error:
                is_for_all = finish is None or (isinstance(error, OSError) and error.errno in FULL_DISK)
                if is_for_all:
                    raise
                attempt.fail()
                reason = f"{type(error).__name__}: {error}"
                print(f"unit {attempt.unit.name}: {attempt.name} failed ({reason})", file=sys.stderr, flush=True)
            else:
                attempt.commit(result, warned)
        yield attempt.unit.name


def finish_units(folder: UnitFolder, work: Work, *, processes: int) -> Iterator[UnitRecord]:
    """Finish a job with worker processes of this machine; with one, in this process.

    Other workers may be at work on it too. Units that failed in an earlier call are tried again.

    Yields:
        The record of each unit as it is finished, by any worker; those done before the call are left out.

    Raises:
        UserError: as `Work.start`, or workers that are killed again and again.
    """
    folder.reset_failed()
    left = len(folder.units) - folder.num_done()
    if not left:
        return
    pool = _Pool(folder, work, min(processes, left))
    with folder.new_records() as new_records:
        looked, cost = 0.0, 0.0
        for _ in pool if processes > 1 else run_worker(folder, work):
            if time.monotonic() - looked < 20 * cost:
                continue
            looked = time.monotonic()
            new = list(new_records())
            cost = time.monotonic() - looked
            pool.deaths = 0 if new else pool.deaths
            yield from new
        yield from new_records()


def check_failed(folder: UnitFolder, max_failed_share: float) -> None:
    """Check a finished job, and give its workers' warnings of records to the caller's stage.

    Raises:
        UserError: more than ``max_failed_share`` of the units failed; it names them.
    """
    for _, record in folder.records():
        for message in record.warnings:
            warnings.warn(RecordWarning(message), stacklevel=2)
    failed = folder.failed_names()
    if len(failed) > max_failed_share * len(folder.units):
        named = ", ".join(failed[:5]) + (", ..." if len(failed) > 5 else "")
        found = f"{len(failed)} of {len(folder.units)} units given up: {named} ({folder.failure(failed[0])})"
        remedy = (
            f"see {folder.root}/failed, remove the cause and call again, or raise max_failed_share={max_failed_share}"
        )
        raise UserError(str(folder.root), found=found, remedy=remedy)


class _Worker(NamedTuple):
    process: BaseProcess
    channel: Connection


class _Pool:
    """Supervised worker processes; iterate over it until all units are done or have failed."""

    def __init__(self, folder: UnitFolder, work: Work, processes: int) -> None:
        self.folder, self.work, self.processes = folder, work, processes
        self.context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half alive
        self.deaths = 0

    def __iter__(self) -> Iterator[None]:
        workers: list[_Worker | None] = [self._spawn(number) for number in range(self.processes)]
        try:
            while any(worker is not None for worker in workers):
                living = [worker for worker in workers if worker is not None]
                multiprocessing.connection.wait([worker.process.sentinel for worker in living], timeout=POLL)
                for number, worker in enumerate(workers):
                    if worker is not None and worker.process.exitcode is not None:
                        workers[number] = self._replace(number, worker)
                yield
                # Workers that are left then are stopped, or working late at units that are done.
                if None in workers and self.folder.is_settled():
                    return
        finally:
            for worker in workers:
                if worker is not None:
                    worker.process.kill()
                    worker.process.join()

    def _spawn(self, number: int) -> _Worker:
        channel, theirs = self.context.Pipe(duplex=False)
        arguments = (self.folder.root, self.folder.lease_seconds, self.work, number, self.processes, theirs)
        process = self.context.Process(target=_run_worker, args=arguments, daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, channel)

    def _replace(self, number: int, worker: _Worker) -> _Worker | None:
        """A new worker for one that has ended; None if there was nothing left to do."""
        error = None
        try:
            while worker.channel.poll():
                error = worker.channel.recv()
        except (EOFError, OSError):  # it was killed while it sent its error
            pass
        if isinstance(error, BaseException):
            raise error
        if worker.process.exitcode == 0 or self.folder.is_settled():
            return None
        self.deaths += 1
        if self.deaths > MAX_WORKER_RESTARTS:
            found = f"{self.deaths} were killed and no unit was finished (by the system, where memory ran out?)"
            remedy = "call again with fewer processes: what was finished is kept"
            raise UserError("worker processes", found=found, remedy=remedy)
        return self._spawn(number)


def _run_worker(root: Path, lease_seconds: float, work: Work, number: int, workers: int, channel: Connection) -> None:
    end_with_parent()
    try:
        for _ in run_worker(UnitFolder(root, lease_seconds), work, number, workers):
            pass
    except (UserError, OSError) as error:
        channel.send(error)
        sys.exit(3)
    except Exception as error:
        channel.send(RuntimeError(f"worker {number}: {error}\n{traceback.format_exc()}"))
        sys.exit(3)


def end_with_parent() -> None:
    """In a child process: exit as soon as the parent process is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def num_available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
