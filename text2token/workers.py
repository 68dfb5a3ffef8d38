"""Worker processes that finish units: each loads the model once and writes one file a unit.

A unit's file appears whole or not at all, and every process would write the same bytes, so it does no harm that two
calls work on one unit (a worker that outlives its killed parent, say): exactly once is a property of the files.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from corpus.errors import UserError
from corpus.manifest import BadRecord
from corpus.workers import end_with_parent
from lm.sources import TextDocument

from .engine import Synthesiser, Voice
from .gate import GateConfig
from .plan import Unit
from .spans import SpanConfig
from .unit_file import Counts, Marks, write_unit


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a worker needs, as plain data.

    Attributes:
        folder: the run folder.
        model: the exported model's folder.
        marks: fingerprints that each unit bears.
        spans: which words become speech.
        gate: which speech is kept.
        voice: how it is read.
        seed: of the corpus.
        batch_size: prompts generated at once.
        dtype: of the model's weights.
        devices: where to run; workers take them in turn.
        threads: of torch, in each process.
    """

    folder: Path
    model: str
    marks: Marks
    spans: SpanConfig
    gate: GateConfig
    voice: Voice
    seed: int
    batch_size: int
    dtype: str
    devices: tuple[str, ...]
    threads: int


@dataclass(frozen=True)
class Finished:
    """A unit that is done: what it holds, the lines left out of it, and what was generated (rejected spans too)."""

    counts: Counts
    bad: list[BadRecord]


class Worker:
    """A process's model, loaded when the first unit comes."""

    def __init__(self, job: Job, device: str) -> None:
        self.job, self.device = job, device
        self.loaded: Synthesiser | None = None

    def finish(self, unit: Unit) -> Finished:
        """Work a unit off and write its file."""
        items = list(unit.documents())
        documents = [item for item in items if isinstance(item, TextDocument)]
        bad = [item for item in items if isinstance(item, BadRecord)]
        spoken = self.synthesiser().speak(documents, unit.pass_number)
        write_unit(self.job.folder / unit.name, spoken, self.job.marks, len(bad))
        counts = Counts()
        for document in spoken:
            counts.add(document)
        return Finished(counts, bad)

    def synthesiser(self) -> Synthesiser:
        """The model with all options."""
        if self.loaded is None:
            import torch

            from lm.generation import Generator

            job = self.job
            torch.set_num_threads(job.threads)
            generator = Generator.from_pretrained(
                job.model, batch_size=job.batch_size, dtype=job.dtype, device=self.device
            )
            self.loaded = Synthesiser(
                generator, generator.vocabulary, spans=job.spans, gate=job.gate, voice=job.voice, seed=job.seed
            )
        return self.loaded


def finish_units(units: Sequence[Unit], job: Job, processes: int) -> Iterator[Finished]:
    """Work units off, in this process or in several, in any order; yields as they are done."""
    if processes == 1 or len(units) <= 1:
        worker = Worker(job, job.devices[0])
        yield from map(worker.finish, units)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half alive
    start = (job, context.Value("i", 0))
    with ProcessPoolExecutor(min(processes, len(units)), context, _start, start) as pool:
        pending: list[Future[Finished]] = [pool.submit(_finish, unit) for unit in units]
        try:
            for done in as_completed(pending):
                yield done.result()
        except BrokenProcessPool as error:
            found = "a worker process was killed (by the system, where memory ran out?)"
            remedy = "call again, with fewer processes: what was finished is kept"
            raise UserError("option processes", found=found, remedy=remedy) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_WORKER: list[Worker] = []  # of a worker process


def _start(job: Job, counter: object) -> None:
    end_with_parent()
    with counter.get_lock():  # type: ignore[attr-defined]
        number = counter.value  # type: ignore[attr-defined]
        counter.value += 1  # type: ignore[attr-defined]
    _WORKER.append(Worker(job, job.devices[number % len(job.devices)]))


def _finish(unit: Unit) -> Finished:
    return _WORKER[0].finish(unit)
