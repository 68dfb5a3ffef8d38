"""One reply in the making: the model writes and speaks, speech is decoded beside it, events tell what is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from corpus.audio.files import Samples
from runtime.errors import UserError

from .context_window import Message, truncated, whole_tokens
from .events import AudioDelta, Event, ReplyDone, Status, TextDelta, Timings, TranscriptDelta, Usage
from .reply_decoder import ReplyDecoder, ReplyPiece, Sampling
from .speech import SpeechPipe

if TYPE_CHECKING:
    from .backends.builtin import Context
    from .engine import Engine


@dataclass(frozen=True, kw_only=True)
class ReplyOptions:
    """How one reply is made.

    Attributes:
        voice: of the decoder.
        has_audio: speak it.
        has_text: tell its text.
        sampling: how tokens are chosen.
    """

    voice: str
    has_audio: bool = True
    has_text: bool = True
    sampling: Sampling = field(default_factory=Sampling)

    def check(self, engine: Engine) -> None:
        """Raise a `UserError` for options that make no sense."""
        if self.voice not in engine.voices:
            raise UserError("voice", found=repr(self.voice), remedy=f"choose one of {', '.join(engine.voices)}")
        if not (self.has_audio or self.has_text):
            raise UserError("the reply", found="neither text nor audio", remedy="ask for one of them, or both")
        if not self.has_audio and engine.bundle.reply_format.kind == "speech":
            remedy = "ask for audio: this model was trained on direct speech"
            raise UserError("the reply", found="text from a model that writes none", remedy=remedy)
        most, temperature = self.sampling.max_tokens, self.sampling.temperature
        if most is not None and most < 1:
            raise UserError("max_tokens", found=f"{most}", remedy="give at least 1")
        if temperature is not None and not 0 <= temperature <= 2:
            raise UserError("temperature", found=f"{temperature}", remedy="give a number from 0 to 2")


class ReplyTask:
    """One reply.

    Args:
        engine: the models.
        context: the dialogue so far, ``<|assistant|>`` its last token; the reply is added to it.
        options: how.
        has_transcript: the question was spoken.
        listened: seconds of work that were left at the end of the user's turn.

    Attributes:
        played: seconds of speech that `events` has handed out.
        is_cancelled: it was broken off, by `cancel` or by a failure: what was not played is not kept.
    """

    def __init__(
        self, engine: Engine, context: Context, options: ReplyOptions, *, has_transcript: bool, listened: float
    ) -> None:
        self.engine, self.context, self.options, self.listened = engine, context, options, listened
        self.bundle, self.vocabulary = engine.bundle, engine.bundle.vocabulary
        self.thoughts = ReplyDecoder(
            engine.bundle,
            context,
            options.sampling,
            has_speech=options.has_audio,
            has_transcript=has_transcript,
        )
        self.started = time.perf_counter() - listened
        self.text = self.transcript = ""
        self.played = 0.0
        self.is_cancelled = self._has_begun = False
        self._times: dict[str, float] = {}
        self._pipe: SpeechPipe | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._room = asyncio.Event()
        self._waiting = 0.0  # seconds of speech that nobody has taken yet
        self._task: asyncio.Task[None] | None = None

    async def events(self) -> AsyncGenerator[Event]:
        """The events, `ReplyDone` last. Leaving early stops the reply."""
        self._task = asyncio.create_task(self._run())
        try:
            while True:
                event = await self._events.get()
                if isinstance(event, AudioDelta):
                    seconds = len(event.samples) / self.engine.sample_rate
                    self._waiting -= seconds
                    self.played += seconds
                    self._room.set()
                yield event
                if isinstance(event, ReplyDone):
                    return
        finally:
            self.cancel()
            await asyncio.wait([self._task])

    def cancel(self) -> None:
        """Stop it; speech that was made but not handed out is dropped."""
        self.is_cancelled = self.is_cancelled or not (self._task and self._task.done())
        if self._task is not None and self._has_begun:  # a task that has not begun would end without a word
            self._task.cancel()

    def message(self) -> Message:
        """What stays of it in the dialogue: all of it, or of a cancelled one what was handed out to be played."""
        before = self.thoughts.start - 1
        ids = self.context.ids[before:]
        if not self.thoughts.body:
            return Message("assistant", ids[:1])
        message = Message("assistant", ids, self.thoughts.body - before)
        if self.is_cancelled and self.options.has_audio:
            message = truncated(message, whole_tokens(self.played), self.vocabulary)
        return message

    async def _run(self) -> None:
        """Make the reply, and tell how it ended."""
        longest = self.engine.options.max_reply_seconds
        status: Status = "completed"
        reason = ""
        self._has_begun = True
        try:
            if self.is_cancelled:
                raise asyncio.CancelledError
            async with asyncio.timeout(longest):
                await self._make()
            if self.thoughts.limit:
                status, reason = "incomplete", self.thoughts.limit
        except asyncio.CancelledError as error:
            error.__traceback__ = None  # a frame in it (of TaskGroup) holds the error: a circle around all of the reply
            status, self.is_cancelled = "cancelled", True
            for event in drain(self._events):
                if not isinstance(event, AudioDelta):
                    self._events.put_nowait(event)
        except TimeoutError:
            status, reason = "failed", f"no end after {longest:g} s"
            self.is_cancelled = True
        except Exception as error:
            cause, self.is_cancelled = first_cause(error), True
            status, reason = "failed", str(cause) or type(cause).__name__
        done = self._done(status, reason)
        self._events.put_nowait(done)
        for observe in self.engine.on_reply:
            observe(done, self._pipe.seconds if self._pipe else 0.0)

    async def _make(self) -> None:
        """Think, and beside it speak."""
        if not self.options.has_audio:
            await self._think(None)
            return
        steps = self.bundle.settings.reply.decoder_steps
        self._pipe = pipe = SpeechPipe(self.bundle.decoder, self.engine.mouth, self.options.voice, steps)
        async with asyncio.TaskGroup() as group:
            group.create_task(pipe.run(self._play))
            await self._think(pipe)
            pipe.finish()

    async def _think(self, pipe: SpeechPipe | None) -> None:
        """Tell the words as they are written, and hand the speech tokens to the decoder."""
        async with aclosing(self.thoughts.pieces()) as pieces:
            async for piece in pieces:
                self._note("prefill")
                self._take(piece, pipe)

    def _take(self, piece: ReplyPiece, pipe: SpeechPipe | None) -> None:
        if piece.kind == "speech" and pipe:
            self._note("first_speech_token")
            pipe.feed(piece.code)
        elif piece.kind == "transcript" and piece.text:
            self.transcript += piece.text
            self._events.put_nowait(TranscriptDelta(text=piece.text))
        elif piece.kind == "text" and piece.text:
            self._note("first_text")
            self.text += piece.text
            if self.options.has_text:
                self._events.put_nowait(TextDelta(text=piece.text))

    async def _play(self, samples: Samples) -> None:
        """Hand out speech; waits while too much of it waits."""
        self._note("first_audio")
        self._waiting += len(samples) / self.engine.sample_rate
        self._events.put_nowait(AudioDelta(samples=samples))
        while self._waiting > self.engine.options.max_waiting_seconds:
            self._room.clear()
            await self._room.wait()

    def _done(self, status: Status, reason: str) -> ReplyDone:
        ids = np.array(self.context.ids, dtype=np.int64)
        prompt, made = ids[: self.thoughts.start], ids[self.thoughts.body or len(ids) :]
        is_text, is_speech = self.vocabulary.is_text, self.vocabulary.is_speech
        usage = Usage(
            input_text=int(is_text(prompt).sum()),
            input_audio=int(is_speech(prompt).sum()),
            output_text=int(is_text(made).sum()),
            output_audio=int(is_speech(made).sum()),
        )
        timings = Timings(
            **self._times,
            total=time.perf_counter() - self.started,
            listen=self.listened,
            think=self.thoughts.seconds,
            speak=self._pipe.worked if self._pipe else 0.0,
        )
        return ReplyDone(
            status=status, reason=reason, text=self.text, transcript=self.transcript, usage=usage, timings=timings
        )

    def _note(self, name: str) -> None:
        if name not in self._times:
            self._times[name] = time.perf_counter() - self.started


def first_cause(error: Exception) -> Exception:
    """What went wrong first in a group of tasks."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def drain(queue: asyncio.Queue[Event]) -> list[Event]:
    """All that waits in a queue."""
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found
