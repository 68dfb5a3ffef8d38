"""Streaming speech synthesis: tokens are decoded block by block, while further tokens come, on the decoder's thread.

The conversation that will run out of sound first is served first: a block is due when the sound made before it has been
played. Blocks of several conversations that wait together are decoded in one batch (`chatbot.engine.worker`).

S samples.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import numpy as np

from corpus.audio.files import Samples
from decoder.encoder import Tokens
from decoder.model import SpeechDecoder
from decoder.stream import DecoderStream

from .worker import Worker


class SpeechPipe:
    """One utterance: `feed` takes codes, `finish` ends it, `run` hands its samples on.

    Args:
        decoder: makes the sound.
        worker: the thread it runs on.
        voice: a voice of the decoder.
        steps: of its solver; None is its default.

    Attributes:
        worked: seconds that decoding took, of batches with other conversations in them, too.
        seconds: of speech made.
    """

    def __init__(self, decoder: SpeechDecoder, worker: Worker, voice: str, steps: int | None) -> None:
        self.decoder, self.worker, self.voice, self.steps = decoder, worker, voice, steps
        self.worked = self.seconds = 0.0
        self._due = time.perf_counter()
        self._stream: DecoderStream | None = None
        self._codes: asyncio.Queue[int | None] = asyncio.Queue()

    def feed(self, code: int) -> None:
        """One more token."""
        self._codes.put_nowait(code)

    def finish(self) -> None:
        """No more tokens."""
        self._codes.put_nowait(None)

    async def run(self, play: Callable[[Samples], Awaitable[None]]) -> None:
        """Decode until `finish` was called and all is played; nothing is played of no tokens.

        Args:
            play: takes (S,) samples; it may wait, and then nothing more is made.
        """
        schedule = self.decoder.schedule
        num_fed = num_blocks = 0
        is_over = False
        while not is_over:
            wanted = -1
            if schedule.block_tokens:
                wanted = schedule.end_of_block(num_blocks) + schedule.lookahead_tokens - num_fed
            block: list[int] = []
            while len(block) != wanted and not is_over:
                code = await self._codes.get()
                if code is None:
                    is_over = True
                else:
                    block.append(code)
            num_fed, num_blocks = num_fed + len(block), num_blocks + 1
            if not num_fed:
                return
            samples = await self._decode(np.array(block, dtype=np.int64), is_over)
            if len(samples):
                if not self.seconds:
                    self._due = time.perf_counter()
                self.seconds += len(samples) / self.decoder.sample_rate
                self._due += len(samples) / self.decoder.sample_rate
                await play(samples)

    async def run_while(self, write: Coroutine[Any, Any, None], play: Callable[[Samples], Awaitable[None]]) -> None:
        """`run` while ``write`` feeds the codes, and finish with it.

        Raises:
            ExceptionGroup: of either of them (`first_cause`).
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self.run(play))
            await write
            self.finish()

    async def _decode(self, tokens: Tokens, is_last: bool) -> Samples:
        """The samples that a block adds."""
        if self.decoder.schedule.block_tokens:
            if self._stream is None:
                self._stream = self.decoder.streaming(self.voice, steps=self.steps)
            made = await self.worker.feed(self._stream, tokens, is_last=is_last, due=self._due)
            self.worked += made.seconds
            return np.asarray(made.output, dtype=np.float32)

        def decode() -> Samples:
            started = time.perf_counter()
            samples = self.decoder.decode(tokens, self.voice, steps=self.steps)
            self.worked += time.perf_counter() - started
            return samples

        return await self.worker.run(decode, due=self._due)


def first_cause(error: Exception) -> Exception:
    """The first exception of a group of tasks."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
