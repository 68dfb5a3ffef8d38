"""A thread that runs a model for many conversations, the most urgent work first; the event loop never waits for it.

Streams that wait for it together run as one batch: the worker takes what lies in its queue and never waits for more. A
block that is due now takes along only those that are due soon, too, for each row makes a batch longer.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from runtime.errors import UserError
from runtime.streaming import Array, BlockStream, Feed, step_apart

Result = TypeVar("Result")
HORIZON = 0.5  # seconds: what is due later does not slow down what is due now


@dataclass(kw_only=True, eq=False)
class Job:
    """Work that waits.

    Attributes:
        due: the smallest is done first; for streams a time by `time.perf_counter`.
        number: of equals the oldest is done first.
        future: gets the result; until then its owner can cancel it.
    """

    due: float
    number: int
    future: Future[Any] = field(default_factory=Future)

    def settle(self, result: Any) -> None:
        """Hand over the result, if it is still wanted."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def fail(self, error: BaseException) -> None:
        """Hand over an error, if the result is still wanted."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(kw_only=True, eq=False)
class CallJob(Job):
    """A function to be called."""

    call: Callable[[], Any]


@dataclass(kw_only=True, eq=False)
class StreamJob(Job):
    """A piece for a stream; done block by block.

    Attributes:
        feed: the piece on its way; None before its turn comes.
        seconds: that its batches took.
    """

    stream: BlockStream[Any]
    piece: Array
    is_last: bool
    feed: Feed[Any] | None = None
    seconds: float = 0.0


class StreamOutput(NamedTuple):
    """The output of a piece, and the seconds that the batches with its blocks took."""

    output: Array
    seconds: float


class Worker:
    """One thread with a queue of jobs.

    Args:
        name: of the thread.
        max_batch: streams of one batch at most.
    """

    def __init__(self, name: str, max_batch: int = 1) -> None:
        self.max_batch = max_batch
        self._jobs: list[Job] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_open = True
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], Result], *, due: float = 0.0) -> Result:
        """Run a function and return its result. A caller that is cancelled takes it back unless it is being done.

        Args:
            call: called on the thread.
            due: what has the smallest number is done first, of equals the oldest.

        Raises:
            UserError: the worker is closed.
        """
        result: Result = await self._wait(CallJob(due=due, number=next(self._numbers), call=call))
        return result

    async def feed(
        self, stream: BlockStream[Any], piece: Array, *, is_last: bool = False, due: float = 0.0
    ) -> StreamOutput:
        """Feed a stream; its blocks run in batches with those of other streams that wait at the same time.

        A caller that is cancelled takes back all but the block that is being worked on; the stream is of no use then.

        Args:
            stream: of the worker's model; nobody else feeds it meanwhile.
            piece: may be empty.
            is_last: nothing follows.
            due: as in `run`, by `time.perf_counter`.

        Raises:
            UserError: the stream cannot take the piece, or the worker is closed.
        """
        job = StreamJob(due=due, number=next(self._numbers), stream=stream, piece=piece, is_last=is_last)
        result: StreamOutput = await self._wait(job)
        return result

    async def _wait(self, job: Job) -> Any:
        with self._changed:
            if not self._is_open:
                raise UserError("the engine", found="closed", remedy="open a new one")
            self._jobs.append(job)
            self._changed.notify()
        return await asyncio.wrap_future(job.future)

    def close(self) -> None:
        """End the thread after the batch that it works on; all that waits is cancelled."""
        with self._changed:
            self._is_open = False
            for job in self._jobs:
                job.future.cancel()
            self._jobs.clear()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or not self._is_open)
                if not self._is_open:
                    return
                waiting = sorted(self._jobs, key=lambda job: (job.due, job.number))
            batch = self._batch(waiting)
            with self._changed:
                self._jobs = [job for job in self._jobs if job not in batch and not job.future.done()]
            try:
                self._do(batch)
            except Exception as error:  # the thread lives on
                for job in batch:
                    job.fail(error)
            unfinished = [job for job in batch if not job.future.done()]
            with self._changed:
                if self._is_open:
                    self._jobs += unfinished
                else:
                    for job in unfinished:
                        job.future.cancel()
            del waiting, batch, unfinished  # an idle thread holds nothing of a conversation that is over

    def _batch(self, waiting: list[Job]) -> list[Job]:
        """The most urgent of the jobs, and those that run as one batch with it; none where it needs no model."""
        first = waiting[0]
        if isinstance(first, CallJob):
            return [first]
        assert isinstance(first, StreamJob)
        if not self._begin(first):
            return []
        assert first.feed is not None
        shape = first.feed.shape
        batch: list[Job] = [first]
        latest = max(first.due, time.perf_counter()) + HORIZON
        for job in waiting[1:]:
            if shape is None or len(batch) == self.max_batch or job.due > latest:
                break
            if (
                isinstance(job, StreamJob)
                and type(job.stream) is type(first.stream)
                and self._begin(job)
                and job.feed is not None
                and job.feed.shape == shape
            ):
                batch.append(job)
        return batch

    def _begin(self, job: StreamJob) -> bool:
        """Let the stream take its piece; whether there is a block to work on."""
        if job.future.done():
            return False
        if job.feed is None:
            try:
                job.stream.check(job.piece, is_last=job.is_last)
                job.feed = Feed(job.stream, job.piece, is_last=job.is_last)
            except Exception as error:
                job.fail(error)
                return False
        if job.feed.block is None:
            job.settle(StreamOutput(job.feed.result(), job.seconds))
            return False
        return True

    def _do(self, batch: list[Job]) -> None:
        """Call a function, or advance streams by a block each."""
        if batch and isinstance(batch[0], CallJob):
            self._call(batch[0])
            return
        jobs = [job for job in batch if isinstance(job, StreamJob) and not job.future.cancelled()]
        if not jobs:
            return
        started = time.perf_counter()
        errors = step_apart([job.feed for job in jobs if job.feed is not None])
        for job, error in zip(jobs, errors, strict=True):
            job.seconds += time.perf_counter() - started
            if error is not None:
                job.fail(error)
            else:
                self._begin(job)  # it may be done

    def _call(self, job: CallJob) -> None:
        if not job.future.set_running_or_notify_cancel():
            return
        try:
            job.future.set_result(job.call())
        except BaseException as error:  # handed to the caller
            job.future.set_exception(error)
