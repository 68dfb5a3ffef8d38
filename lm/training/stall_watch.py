"""Watch over the steps of a training: a step that takes too long is named on stderr, with its samples and the stacks.

A hang cannot be caught as an error (a lost process leaves the others in a collective for half an hour, a clip on a dead
network mount blocks its reader for ever), but the log can say where to look.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class StallWatch:
    """A thread that looks at the clock; a context manager.

    Args:
        seconds: a step may take; 0: no watch.
        describe: words for the samples of a step on this process.
        rank: of this process.
    """

    def __init__(self, seconds: float, describe: Callable[[int], str], rank: int) -> None:
        self.seconds, self.describe, self.rank = seconds, describe, rank
        self._running: tuple[int, float] | None = None  # the step and its beginning
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stall watch", daemon=True)

    def __enter__(self) -> StallWatch:
        if self.seconds:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @contextmanager
    def over(self, step: int) -> Iterator[None]:
        """While open, ``step`` runs."""
        self._running = (step, time.monotonic())
        try:
            yield
        finally:
            self._running = None

    def _look(self) -> None:
        named = -1
        while not self._ended.wait(self.seconds / 4):
            running = self._running
            if running is not None and running[0] != named and time.monotonic() - running[1] >= self.seconds:
                named = running[0]
                self.report(named)

    def report(self, step: int) -> None:
        """Name the step on stderr, and show the stacks of all threads."""
        try:
            samples = self.describe(step)
        except Exception as error:  # a watch ends no training
            samples = f"its samples cannot be named ({error})"
        print(
            f"step {step + 1} has taken more than {self.seconds:g} s on rank {self.rank}; {samples}",
            file=sys.stderr,
            flush=True,
        )
        faulthandler.dump_traceback(sys.__stderr__ or sys.stderr)
