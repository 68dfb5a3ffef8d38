"""Backends of the language model: in this process, its rows batched on a thread (`Builtin`), or behind an endpoint.

A `Context` is one sequence of ids. Everything is called from one event loop; nothing here makes it wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from lm.inference.batching import GenerationRequest, NewToken
from lm.inference.generation import Generator
from runtime.errors import UserError

Ids = Sequence[int] | npt.NDArray[np.integer]
Listener = asyncio.Queue[NewToken | Exception]


class Context(Protocol):
    """One sequence: what the model has read and said.

    Attributes:
        ids: all of it.
        probabilities: of the ids that the latest `generate` has yielded, where it was asked to score them; an endpoint
            tells none.
    """

    ids: list[int]
    probabilities: list[float]

    def set(self, ids: Ids) -> None:
        """Let the sequence be ``ids``. What it began with before stays read; the rest is read at once."""

    def generate(self, ask: GenerationRequest) -> AsyncGenerator[int]:
        """Continue it: the new ids, the stop id included. All that was yielded belongs to the sequence, no more."""

    def close(self) -> None:
        """Free what it holds."""


class LanguageModelBackend(Protocol):
    """A language model that continues many sequences at once."""

    max_length: int

    def open(self) -> Context:
        """A new, empty sequence."""

    def order_on_loop(self, order: Callable[[], None]) -> None:
        """Call a function on the event loop once all that its sequences were set to before has been taken over."""

    async def close(self) -> None:
        """End it; all contexts are closed before."""


class Builtin:
    """The built-in generator on a thread of its own, all contexts batched.

    Args:
        generator: the model.
        num_rows: contexts that may be open at once.
    """

    def __init__(self, generator: Generator, num_rows: int) -> None:
        self.max_length = generator.max_length
        self._sequences = generator.batch(num_rows)
        self._orders: list[Callable[[], object]] = []
        self._changed = threading.Condition()
        self.is_open = True
        self._listeners: dict[int, Listener] = {}  # by row; of the thread
        self._free = list(range(num_rows))[::-1]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="language model", daemon=True)
        self._thread.start()

    def open(self) -> BuiltinContext:
        """A new, empty sequence.

        Raises:
            UserError: all rows are taken.
        """
        if not self._free:
            raise UserError("the model", found="all rows in use", remedy="try again later")
        self._loop = asyncio.get_running_loop()
        row = self._free.pop()
        self.order(lambda: self._sequences.open(row))
        return BuiltinContext(self, row)

    def order(self, order: Callable[[], object]) -> None:
        """Let the thread do something to the sequences before its next step; nothing once it has ended."""
        with self._changed:
            self._orders.append(order)
            self._changed.notify()

    def order_on_loop(self, order: Callable[[], None]) -> None:
        """Call a function on the event loop once all orders before it are done."""
        loop = asyncio.get_running_loop()

        def call() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(order)

        self.order(call)

    async def close(self) -> None:
        """End the thread."""
        with self._changed:
            self.is_open = False
            self._changed.notify()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        sequences = self._sequences
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._orders or sequences.has_work or not self.is_open)
                is_open = self.is_open
                orders, self._orders = self._orders, []
            try:
                for order in orders:
                    order()
                if not is_open:
                    break
                new: list[tuple[Listener, NewToken | Exception]] = [
                    (self._listeners[made.row], made) for made in sequences.step()
                ]
            except Exception as error:  # all listeners get it; the thread goes on
                sequences.cancel_all()
                new = [(listener, error) for listener in self._listeners.values()]
            if new:
                self._send(new)
        self._send([(listener, closed()) for listener in self._listeners.values()])

    def _send(self, new: list[tuple[Listener, NewToken | Exception]]) -> None:
        """Hand new tokens to the event loop."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            if self._loop is not None:
                self._loop.call_soon_threadsafe(deliver, new)


class BuiltinContext:
    """One row of a `Builtin` model."""

    def __init__(self, backend: Builtin, row: int) -> None:
        self.ids: list[int] = []
        self.probabilities: list[float] = []
        self._backend, self._row, self._is_open = backend, row, True

    def set(self, ids: Ids) -> None:
        """Let the sequence be ``ids``; those it does not begin with are read.

        Raises:
            UserError: more than the model has positions.
        """
        wanted = [int(id) for id in ids]
        if len(wanted) > self._backend.max_length:
            found = f"{len(wanted)} tokens for a model of {self._backend.max_length} positions"
            raise UserError("the dialogue", found=found, remedy="start a new one")
        kept = common_length(self.ids, wanted)
        if kept == len(self.ids) == len(wanted):
            return
        kept = min(kept, max(len(wanted) - 1, 0))  # the last one is read again where it stays the last
        rest, is_cut = wanted[kept:], kept < len(self.ids)
        sequences, row = self._backend._sequences, self._row

        def change() -> None:
            if is_cut:
                sequences.cut(row, kept)
            sequences.feed(row, rest)

        self._backend.order(change)
        self.ids = wanted

    async def generate(self, ask: GenerationRequest) -> AsyncGenerator[int]:
        """Continue the sequence; see `Context.generate`."""
        sequences, row, listeners = self._backend._sequences, self._row, self._backend._listeners
        if not self._backend.is_open:
            raise closed()
        queue: Listener = asyncio.Queue()
        self.probabilities = []

        def start() -> None:
            listeners[row] = queue
            sequences.ask(row, ask)

        self._backend.order(start)
        is_done = False
        try:
            while not is_done:
                made = await queue.get()
                if isinstance(made, Exception):
                    raise made
                is_done = made.is_last
                self.ids.append(made.token)
                if ask.is_scored:
                    self.probabilities.append(made.probability)
                yield made.token
        finally:
            if not is_done and self._is_open:
                kept = len(self.ids)
                self._backend.order(lambda: sequences.cut(row, kept))

    def close(self) -> None:
        """Free the row."""
        if self._is_open:
            self._is_open = False
            sequences, row = self._backend._sequences, self._row
            listeners = self._backend._listeners

            def free() -> None:
                sequences.close(row)
                listeners.pop(row, None)

            self._backend.order(free)
            self._backend._free.append(row)


def closed() -> UserError:
    """The error for those that wait for a model that was closed."""
    return UserError("the engine", found="closed", remedy="open a new one")


def deliver(new: list[tuple[Listener, NewToken | Exception]]) -> None:
    """Hand new tokens to their listeners; on the event loop."""
    for listener, made in new:
        listener.put_nowait(made)


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common prefix of two rows of ids."""
    for at, (left, right) in enumerate(zip(one, other, strict=False)):
        if left != right:
            return at
    return min(len(one), len(other))
