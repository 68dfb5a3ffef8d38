"""Laws of a worker: what waits together runs as one batch, and no row of it harms or delays another."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar, Self

import numpy as np
import pytest
import torch

from chatbot.engine.speech import SpeechPipe
from chatbot.engine.worker import HORIZON, Worker
from corpus.audio.files import Samples
from decoder.config import BackboneConfig, DecoderConfig, FlowConfig, VocoderConfig
from decoder.model import SpeechDecoder
from decoder.stream import Block, DecoderStream
from decoder.vocoder import Vocoder
from runtime.errors import UserError
from runtime.streaming import BlockStream

from ..conftest import HANG_SECONDS, babble, make_tokenizer  # noqa: TID252

POISON = 13


class RunningSums(BlockStream[int]):
    """Sums of all numbers so far, four numbers a block."""

    input_type: ClassVar[type[np.generic]] = np.int64
    output_type: ClassVar[type[np.generic]] = np.int64
    sizes: ClassVar[list[int]] = []  # of the batches

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.waiting, self.total = np.zeros(0, np.int64), 0

    def check(self, piece: np.ndarray, *, is_last: bool) -> None:
        if (piece < 0).any():
            raise UserError("a number", found="less than 0", remedy="give others")

    def append(self, piece: np.ndarray, *, is_last: bool) -> None:
        self.waiting = np.concatenate([self.waiting, piece])

    def next_block(self) -> int | None:
        return 4 if len(self.waiting) >= 4 else None

    def shape(self, piece: int) -> Hashable | None:
        return piece

    @classmethod
    def step(cls, streams: Sequence[Self], pieces: Sequence[int]) -> list[np.ndarray]:
        cls.sizes.append(len(streams))
        made = []
        for stream, count in zip(streams, pieces, strict=True):
            made.append(stream.total + np.cumsum(stream.waiting[:count]))
            stream.total = int(made[-1][-1])
            stream.waiting = stream.waiting[count:]
        if any(POISON in np.diff(row) for row in made):
            raise RuntimeError("thirteen")  # when all rows have gone on
        return made


@asynccontextmanager
async def working(max_batch: int = 8) -> AsyncGenerator[Worker]:
    RunningSums.sizes.clear()
    worker = Worker("sums", max_batch)
    try:
        yield worker
    finally:
        worker.close()


@asynccontextmanager
async def queued(worker: Worker) -> AsyncGenerator[asyncio.TaskGroup]:
    """What is begun within waits until the end; all of it lies in the queue together then."""
    gate = threading.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(lambda: gate.wait(HANG_SECONDS), due=-1.0))
        while worker._jobs:
            await asyncio.sleep(0.001)
        try:
            yield group
            await asyncio.sleep(0)  # the tasks begin
        finally:
            gate.set()


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), HANG_SECONDS))


@pytest.mark.parametrize(("max_batch", "sizes"), [(8, [5, 5, 1]), (2, [2, 2, 2, 2, 2, 1]), (1, [1] * 11)])
def test_what_waits_together_runs_as_one_batch(max_batch: int, sizes: list[int]) -> None:
    async def test() -> None:
        async with working(max_batch) as worker:
            streams = [RunningSums() for _ in range(5)]
            async with queued(worker) as group:
                tasks = [group.create_task(worker.feed(s, np.arange(12 if s is streams[2] else 9))) for s in streams]
            assert sorted(RunningSums.sizes) == sorted(sizes)
            for stream, task in zip(streams, tasks, strict=True):
                count = 12 if stream is streams[2] else 8
                assert task.result().output.tolist() == np.cumsum(np.arange(count)).tolist()
                assert task.result().seconds > 0
            made = await worker.feed(streams[0], np.array([1, 1, 1]))  # an 8 waits there
            assert made.output.tolist() == [36, 37, 38, 39]

    run(test)


def test_one_alone_is_served_at_once() -> None:
    async def test() -> None:
        async with working() as worker:
            stream = RunningSums()
            for number in range(3):
                made = await worker.feed(stream, np.ones(4, np.int64))
                assert made.output.tolist() == [4 * number + k for k in (1, 2, 3, 4)]
            assert len((await worker.feed(stream, np.ones(3, np.int64))).output) == 0
            assert RunningSums.sizes == [1, 1, 1]

    run(test)


def test_an_error_of_a_row_is_its_own() -> None:
    async def test() -> None:
        async with working() as worker:
            streams = [RunningSums() for _ in range(4)]
            pieces = [np.arange(8), np.array([1, POISON, 1, 1] * 2), np.arange(8), np.array([1, -1, 1, 1])]
            async with queued(worker) as group:
                jobs = zip(streams, pieces, strict=True)
                tasks = [group.create_task(outcome(worker.feed(stream, piece))) for stream, piece in jobs]
            assert str(tasks[1].result()) == "thirteen"
            assert isinstance(tasks[3].result(), UserError)
            for row in (0, 2):
                assert tasks[row].result().output.tolist() == np.cumsum(np.arange(8)).tolist()
            assert RunningSums.sizes == [3, 1, 1, 1, 2]

    run(test)


async def outcome(work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    except Exception as error:
        return error


def test_a_row_that_is_cancelled_leaves_the_others_alone() -> None:
    async def test() -> None:
        async with working() as worker:
            streams = [RunningSums() for _ in range(3)]
            async with queued(worker) as group:
                tasks = [group.create_task(worker.feed(stream, np.arange(8))) for stream in streams]
                await asyncio.sleep(0)
                tasks[1].cancel()
            assert tasks[1].cancelled() and streams[1].total == 0
            assert tasks[0].result().output.tolist() == tasks[2].result().output.tolist()
            assert RunningSums.sizes == [2, 2] and not worker._jobs

    run(test)


def test_what_is_due_later_does_not_slow_down_what_is_due_now() -> None:
    async def test() -> None:
        async with working() as worker:
            now = time.perf_counter()
            dues = [now + 1000 * HORIZON, now, now + 1000 * HORIZON + 0.1, now - 1]
            async with queued(worker) as group:
                for due in dues:
                    group.create_task(worker.feed(RunningSums(), np.arange(4), due=due))
            assert RunningSums.sizes == [2, 2]

    run(test)


def test_closing_cancels_what_waits() -> None:
    async def test() -> None:
        async with working() as worker:
            gate = threading.Event()
            first = asyncio.create_task(worker.run(lambda: gate.wait(HANG_SECONDS)))
            waiting = asyncio.create_task(worker.feed(RunningSums(), np.arange(4)))
            await asyncio.sleep(0.01)
            closing = asyncio.create_task(asyncio.to_thread(worker.close))
            while worker._is_open:
                await asyncio.sleep(0.001)
            gate.set()
            await asyncio.gather(first, waiting, closing, return_exceptions=True)
            assert waiting.cancelled() and not worker._thread.is_alive()
            with pytest.raises(UserError, match="closed"):
                await worker.feed(RunningSums(), np.arange(4))

    run(test)


def test_turns_of_several_talkers_are_encoded_in_one_batch() -> None:
    """On the tokenizer's own streams: a chunk of each, at other places, with the tokens of each alone."""
    tokenizer = make_tokenizer()
    audios = [babble(seed, 0.64 * (2 + seed)) for seed in range(4)]
    expected = [tokenizer.encode([audio])[0].tolist() for audio in audios]

    async def test() -> None:
        async with working() as worker:
            async with queued(worker) as group:
                tasks = [group.create_task(both(worker, audio)) for audio in audios]
            assert [task.result() for task in tasks] == expected

    async def both(worker: Worker, audio: Samples) -> list[int]:
        stream = tokenizer.open_stream()
        pieces = [await worker.feed(stream, piece) for piece in np.split(audio, [9000, 20_000])]
        pieces.append(await worker.feed(stream, audio[:0], is_last=True))
        return [code for piece in pieces for code in piece.output.tolist()]

    run(test)


def test_replies_are_decoded_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has the samples, to the bit, that it has alone; one that is given up in the middle changes nothing."""
    torch.manual_seed(1)
    tiny = BackboneConfig(width=32, layers=1, heads=2, expansion=2, kernel=3)
    config = DecoderConfig(
        codebook_size=24,
        speakers=["anna", "bert"],
        tokenizer="none",
        encoder=tiny,
        flow=FlowConfig(estimator=tiny, steps=2),
        block_tokens=10,
        past_blocks=1,
    )
    decoder = SpeechDecoder(config, Vocoder(VocoderConfig(width=16, layers=1, expansion=2))).eval()
    sizes: list[int] = []
    step = DecoderStream.step

    def counted(streams: Sequence[DecoderStream], blocks: Sequence[Block]) -> list[Samples]:
        sizes.append(len(streams))
        return step(streams, blocks)

    monkeypatch.setattr(DecoderStream, "step", staticmethod(counted))
    tokens = [np.random.default_rng(seed).integers(0, 24, 50) for seed in range(4)]

    async def reply(worker: Worker, number: int, *, blocks: int = 1000) -> Samples:
        pipe = SpeechPipe(decoder, worker, ("anna", "bert")[number % 2], None)
        for code in tokens[number].tolist():
            pipe.feed(code)
        pipe.finish()
        made: list[Samples] = []

        async def play(samples: Samples) -> None:
            made.append(samples)
            if len(made) == blocks:
                raise asyncio.CancelledError

        with suppress(asyncio.CancelledError):
            await pipe.run(play)
        return np.concatenate(made)

    async def test() -> None:
        async with working() as worker:
            alone = [await reply(worker, number) for number in range(4)]
            sizes.clear()
            async with queued(worker) as group:
                tasks = [group.create_task(reply(worker, number)) for number in range(3)]
                given_up = group.create_task(reply(worker, 3, blocks=2))
            for number, task in enumerate(tasks):
                np.testing.assert_array_equal(task.result(), alone[number])
            count = len(given_up.result())
            assert 0 < count < len(alone[3])
            np.testing.assert_array_equal(given_up.result(), alone[3][:count])
            assert max(sizes) >= 3

    run(test)
