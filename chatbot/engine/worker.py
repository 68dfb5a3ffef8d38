"""A thread that runs a model for many conversations, the most urgent job first; the event loop never waits for it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from runtime.errors import UserError

Result = TypeVar("Result")


class Worker:
    """One thread with a heap of jobs.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._jobs: list[tuple[float, int, Future[Any], Callable[[], Any]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_open = True
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def run(self, job: Callable[[], Result], *, due: float = 0.0) -> Result:
        """Run a job and return its result. A caller that is cancelled takes its job back unless it is being done.

        Args:
            job: called on the thread.
            due: jobs with the smallest number are done first, of equals the oldest.

        Raises:
            UserError: the worker is closed.
        """
        future: Future[Result] = Future()
        with self._changed:
            if not self._is_open:
                raise UserError("the engine", found="closed", remedy="open a new one")
            heapq.heappush(self._jobs, (due, next(self._numbers), future, job))
            self._changed.notify()
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the thread after the job that it does; the others are cancelled."""
        with self._changed:
            self._is_open = False
            for _, _, future, _ in self._jobs:
                future.cancel()
            self._jobs.clear()
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or not self._is_open)
                if not self._is_open:
                    return
                _, _, future, job = heapq.heappop(self._jobs)
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:  # handed to the caller
                future.set_exception(error)
