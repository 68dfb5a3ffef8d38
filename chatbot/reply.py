"""One reply in the making: the model writes and speaks, speech is decoded beside it, events tell what is known.

The text-guided form (see `chatbot.session`): ``[<|transcript|> Q_t <|assistant|>] A_t BOA A_s EOA``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from corpus.audio import Samples
from corpus.errors import UserError
from lm.generation import Allowed
from lm.sampling import prompt_seeds, seed_of
from lm.sequences import Ask
from lm.vocabulary import ASSISTANT, BEGIN_OF_AUDIO, END_OF_AUDIO, TRANSCRIPT

from .events import AudioDelta, Event, ReplyDone, Status, TextDelta, Timings, TranscriptDelta, Usage
from .memory import Message, truncated, whole_tokens
from .speech import SpeechPipe

if TYPE_CHECKING:
    from .backend import Context
    from .engine import Engine


@dataclass(frozen=True, kw_only=True)
class ReplyOptions:
    """How one reply is made.

    Attributes:
        voice: of the decoder.
        has_audio: speak it.
        has_text: tell its text.
        max_tokens: of text and speech together; None is the bundle's limits.
        temperature: of text and speech; None is the bundle's.
        seed: of the sampling; None is made from the dialogue.
    """

    voice: str
    has_audio: bool = True
    has_text: bool = True
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None


class Reply:
    """One reply.

    Args:
        engine: the models.
        context: the dialogue so far; the reply is added to it.
        options: how.
        listened: seconds of work that were left at the end of the user's turn.

    Attributes:
        start: tokens of the context before the reply.
        body: where in the reply, its mark included, its text begins (after the transcript); 0 before that is reached.
        played: seconds of speech that `events` has handed out.
    """

    def __init__(self, engine: Engine, context: Context, options: ReplyOptions, listened: float) -> None:
        self.engine, self.context, self.options, self.listened = engine, context, options, listened
        self.bundle, self.vocabulary = engine.bundle, engine.bundle.vocabulary
        self.start, self.body, self.played = len(context.ids), 0, 0.0
        self.started = time.perf_counter() - listened
        self.text = self.transcript = self.reason = ""
        self.thought = 0.0
        self.times: dict[str, float] = {}
        self.pipe: SpeechPipe | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._room = asyncio.Event()
        self._waiting = 0.0  # seconds of speech that nobody has taken yet
        self._task: asyncio.Task[None] | None = None
        self._left = options.max_tokens  # tokens that may still come
        self.is_cancelled = False

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
        """Stop it; what was made but not handed out is dropped."""
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def message(self) -> Message:
        """What stays of it in the dialogue: all of it, or of a cancelled one what was handed out to be played."""
        ids = self.context.ids[self.start - 1 :]
        if not self.body:
            return Message("assistant", ids[:1])
        message = Message("assistant", ids, self.body)
        if self.is_cancelled and self.options.has_audio:
            message = truncated(message, whole_tokens(self.played), self.vocabulary)
        return message

    async def _run(self) -> None:
        status: Status
        try:
            async with asyncio.timeout(self.engine.options.max_reply_seconds):
                await self._make()
            status = "incomplete" if self.reason else "completed"
        except asyncio.CancelledError:
            status, self.is_cancelled = "cancelled", True
            kept = [e for e in drain(self._events) if not isinstance(e, AudioDelta)]
            for event in kept:
                self._events.put_nowait(event)
        except TimeoutError:
            status, self.reason = "failed", f"no end after {self.engine.options.max_reply_seconds:g} s"
        except Exception as error:
            status, self.reason = "failed", str(error) or type(error).__name__
        self._events.put_nowait(self._done(status))

    def _done(self, status: Status) -> ReplyDone:
        prompt = np.array(self.context.ids[: self.start], dtype=np.int64)
        made = np.array(self.context.ids[self.start + self.body - 1 :] if self.body else [], dtype=np.int64)
        is_text, is_speech = self.vocabulary.is_text, self.vocabulary.is_speech
        usage = Usage(
            input_text=int(is_text(prompt).sum()),
            input_audio=int(is_speech(prompt).sum()),
            output_text=int(is_text(made).sum()),
            output_audio=int(is_speech(made).sum()),
        )
        timings = Timings(
            **self.times,
            total=time.perf_counter() - self.started,
            listen=self.listened,
            think=self.thought,
            speak=self.pipe.worked if self.pipe else 0.0,
        )
        return ReplyDone(
            status=status,
            reason=self.reason,
            text=self.text,
            transcript=self.transcript,
            usage=usage,
            timings=timings,
        )

    async def _make(self) -> None:
        """Think, and beside it speak."""
        if not self.options.has_audio:
            await self._think(None)
            return
        reply = self.bundle.settings.reply
        self.pipe = SpeechPipe(
            self.bundle.decoder, self.engine.mouth, self.options.voice, reply.decoder_steps, self._play
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pipe.run())
            await self._think(self.pipe)
            self.pipe.finish()

    async def _play(self, samples: Samples) -> None:
        """Hand out speech; waits while too much of it waits."""
        self._note("first_audio")
        self._waiting += len(samples) / self.engine.sample_rate
        self._events.put_nowait(AudioDelta(samples=samples))
        while self._waiting > self.engine.options.max_waiting_seconds:
            self._room.clear()
            await self._room.wait()

    async def _think(self, pipe: SpeechPipe | None) -> None:
        """The reply's parts, one after the other."""
        v, reply = self.vocabulary, self.bundle.settings.reply
        if reply.transcribe_first:
            self._mark(TRANSCRIPT)
            async for text in self._write([ASSISTANT], is_counted=False):
                self.transcript += text
                self._events.put_nowait(TranscriptDelta(text=text))
        self.body = len(self.context.ids) - self.start + 1
        stops = [BEGIN_OF_AUDIO] if pipe else [BEGIN_OF_AUDIO, v.eos_token]
        async for text in self._write(stops):
            self._note("first_text")
            self.text += text
            if self.options.has_text:
                self._events.put_nowait(TextDelta(text=text))
        if pipe is None:
            self.context.set(self.context.ids[:-1])  # no speech follows its text
            return
        limit, end = self.bundle.max_speech_tokens, v.special(END_OF_AUDIO)
        async for id in self._generate("speech", [end], limit, reply.speech_temperature):
            self._note("first_speech_token")
            pipe.feed(id - v.speech_offset)

    async def _write(self, stops: list[str], *, is_counted: bool = True) -> AsyncGenerator[str]:
        """Pieces of text until one of the special tokens ``stops``."""
        v, reply = self.vocabulary, self.bundle.settings.reply
        ids: list[int] = []
        told = ""
        marks = [v.eos if stop == v.eos_token else v.special(stop) for stop in stops]
        made = self._generate("text", marks, reply.max_text_tokens, reply.text_temperature, is_counted=is_counted)
        async for id in made:
            ids.append(id)
            text = v.decode_text(ids)
            if not text.endswith("\ufffd"):  # a character whose bytes are not all there
                if text != told:
                    yield text[len(told) :]
                told = text
        if ids and (text := v.decode_text(ids)) != told:
            yield text[len(told) :]

    async def _generate(
        self, allowed: Allowed, stop: list[int], most: int, temperature: float, *, is_counted: bool = True
    ) -> AsyncGenerator[int]:
        """New ids up to one of ``stop``, which ends the part in the context whether the model gave it or a limit."""
        ids, options = self.context.ids, self.options
        room = self.engine.limits.context_tokens - len(ids) - 1
        if is_counted and self._left is not None:
            most = min(most, self._left)
        if room < most:
            most = room
        is_ended = False
        if most > 0:
            seed = int(prompt_seeds([np.array(ids)])[0])
            ask = Ask(
                max_new_tokens=most,
                stop=tuple(stop),
                allowed=allowed,
                temperature=temperature if options.temperature is None else options.temperature,
                top_p=self.bundle.settings.reply.top_p,
                seed=seed if options.seed is None else seed_of(options.seed, len(ids) - self.start),
            )
            waited = time.perf_counter()
            async with aclosing(self.context.generate(ask)) as made:
                async for id in made:
                    self.thought += time.perf_counter() - waited
                    self._note("prefill")
                    if is_counted and self._left is not None:
                        self._left -= 1
                    is_ended = id in stop
                    if not is_ended:
                        yield id
                    waited = time.perf_counter()
        if not is_ended:
            self.reason = "context" if most == room else "max_tokens"
            self.context.set([*self.context.ids, stop[0]])

    def _mark(self, name: str) -> None:
        self.context.set([*self.context.ids, self.vocabulary.special(name)])

    def _note(self, name: str) -> None:
        if name not in self.times:
            self.times[name] = time.perf_counter() - self.started


def drain(queue: asyncio.Queue[Event]) -> list[Event]:
    """All that waits in a queue."""
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found


def check_reply(options: ReplyOptions, voices: list[str]) -> None:
    """Raise a `UserError` for options that make no sense."""
    if options.voice not in voices:
        raise UserError("voice", found=f"{options.voice!r}", remedy=f"choose one of {', '.join(voices)}")
    if not (options.has_audio or options.has_text):
        raise UserError("the reply", found="neither text nor audio", remedy="ask for one of them, or both")
    if options.max_tokens is not None and options.max_tokens < 1:
        raise UserError("max_tokens", found=f"{options.max_tokens}", remedy="give at least 1")
    if options.temperature is not None and not 0 <= options.temperature <= 2:
        raise UserError("temperature", found=f"{options.temperature}", remedy="give a number from 0 to 2")
