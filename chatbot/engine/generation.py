"""One reply in the making: the model writes, its speech tokens are decoded at the same time, events tell the progress.

S samples.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np

from corpus.audio.files import Samples
from lm.inference.lent_vectors import with_placeholders
from runtime.errors import UserError

from .backends.builtin import Context
from .bundle_parts import Bundle
from .context_window import Message, SentenceReading, truncate, whole_tokens
from .events import AudioDelta, Event, ReplyDone, Status, TextDelta, Timings, TranscriptDelta, Usage
from .models import Models
from .options import ReplyOptions
from .reply_decoder import ReplyDecoder, ReplyPiece
from .speech import SpeechPipe, first_cause
from .tts import Reading, ended_sentences


def check_reply(options: ReplyOptions, bundle: Bundle) -> None:
    """Raise a `UserError` unless the bundle can make such a reply."""
    if not (options.has_audio or options.has_text):
        raise UserError("the reply", found="neither text nor audio", remedy="ask for one of them, or both")
    if not options.has_audio and bundle.reply_format.kind == "speech":
        remedy = "ask for audio: this model was trained on direct speech"
        raise UserError("the reply", found="text from a model that writes none", remedy=remedy)


class ReplyTask:
    """One reply.

    Args:
        models: the language model, the decoder and its thread.
        context: the conversation so far, ``<|assistant|>`` its last token; the reply is added to it.
        options: of the reply, with a voice.
        message: that the reply becomes (`keep`).
        has_transcript: the question was spoken.
        encode_seconds: of work that were left at the end of the user's turn.

    Attributes:
        played: seconds of speech that `events` has handed out.
        is_cancelled: it was broken off, by `cancel` or by a failure: what was not played is not kept.
    """

    def __init__(
        self,
        models: Models,
        context: Context,
        options: ReplyOptions,
        message: Message,
        *,
        has_transcript: bool,
        encode_seconds: float,
    ) -> None:
        assert options.voice is not None
        self.models, self.context, self.options, self.encode_seconds = models, context, options, encode_seconds
        self.message = message
        self.bundle, self.vocabulary = models.bundle, models.bundle.vocabulary
        self.voice = options.voice
        self.decoder = ReplyDecoder(models.bundle, context, options, has_transcript=has_transcript)
        self.started = time.perf_counter() - encode_seconds
        self.text = self.transcript = ""
        self.played = 0.0
        self.is_cancelled = self._has_begun = False
        self._times: dict[str, float] = {}
        self._pipe: SpeechPipe | None = None
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._has_room = asyncio.Event()
        self._waiting = 0.0  # seconds of speech that nobody has taken yet
        self._num_read = 0  # speech tokens of the reader
        self._task: asyncio.Task[None] | None = None

    async def events(self) -> AsyncGenerator[Event]:
        """The events, `ReplyDone` last. Leaving early stops the reply."""
        self._task = asyncio.create_task(self._run())
        try:
            while True:
                event = await self._events.get()
                if isinstance(event, AudioDelta):
                    seconds = len(event.samples) / self.models.sample_rate
                    self._waiting -= seconds
                    self.played += seconds
                    self._has_room.set()
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

    def keep(self) -> None:
        """Write the message that stays in the conversation: of a cancelled reply only the speech handed out."""
        before = self.decoder.start - 1
        ids = self.context.ids[before:]
        if not self.decoder.body:
            self.message.ids = ids[:1]
            return
        self.message.ids, self.message.body = ids, self.decoder.body - before
        if self.is_cancelled and self.options.has_audio:
            truncate(self.message, whole_tokens(self.played), self.vocabulary)

    async def _run(self) -> None:
        """Make the reply; its last event says how it ended."""
        longest = self.models.options.max_reply_seconds
        status: Status = "completed"
        reason = ""
        self._has_begun = True
        try:
            if self.is_cancelled:
                raise asyncio.CancelledError
            async with asyncio.timeout(longest):
                await self._make()
            if self.decoder.limit:
                status, reason = "incomplete", self.decoder.limit
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
        for observe in self.models.on_reply:
            observe(done, self._pipe.seconds if self._pipe else 0.0)

    async def _make(self) -> None:
        """Write the reply, and decode its speech tokens at the same time."""
        if not self.options.has_audio:
            await self._write(None)
            return
        steps = self.bundle.settings.reply.decoder_steps
        self._pipe = pipe = SpeechPipe(self.bundle.decoder, self.models.decoder_worker, self.voice, steps)
        write = self._write(pipe) if self.bundle.hearing is None else self._write_and_read(pipe)
        await pipe.run_while(write, self._play)

    async def _write(self, pipe: SpeechPipe | None) -> None:
        """Emit the words as they are written, and hand the speech tokens to the decoder."""
        async with aclosing(self.decoder.pieces()) as pieces:
            async for piece in pieces:
                self._note("prefill")
                self._take(piece, pipe)

    async def _write_and_read(self, pipe: SpeechPipe) -> None:
        """Emit the words as they are written, and let the reader read each sentence aloud that has ended."""
        self.message.readings = []
        sentences: asyncio.Queue[tuple[str, int] | None] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read_aloud(sentences, pipe))
            end = 0
            async with aclosing(self.decoder.pieces()) as pieces:
                async for piece in pieces:
                    self._note("prefill")
                    self._take(piece, None)
                    for sentence in ended_sentences(self.text[end:]):
                        end = self.text.index(sentence, end) + len(sentence)
                        sentences.put_nowait((sentence, end))
            if self.text[end:].strip():
                sentences.put_nowait((self.text[end:], len(self.text)))
            sentences.put_nowait(None)

    async def _read_aloud(self, sentences: asyncio.Queue[tuple[str, int] | None], pipe: SpeechPipe) -> None:
        """Read sentences, which come with their ends in the text, until the longest reply is spoken."""
        assert self.message.readings is not None
        most = self.bundle.max_speech_tokens
        with Reading(self.models, self.voice) as reading:
            while (sentence := await sentences.get()) is not None:
                async with aclosing(reading.tokens(sentence[0])) as codes:
                    async for code in codes:
                        if self._num_read == most:
                            self.decoder.limit = self.decoder.limit or "max_tokens"
                            return
                        self._note("first_speech_token")
                        self._num_read += 1
                        pipe.feed(code)
                self.message.readings.append(SentenceReading(sentence[1], self._num_read))

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
        self._waiting += len(samples) / self.models.sample_rate
        self._events.put_nowait(AudioDelta(samples=samples))
        while self._waiting > self.models.options.max_waiting_seconds:
            self._has_room.clear()
            await self._has_room.wait()

    def _done(self, status: Status, reason: str) -> ReplyDone:
        ids = with_placeholders(np.array(self.context.ids, dtype=np.int64), self.vocabulary)
        prompt, made = ids[: self.decoder.start], ids[self.decoder.body or len(ids) :]
        is_text, is_speech = self.vocabulary.is_text, self.vocabulary.is_speech
        usage = Usage(
            input_text=int(is_text(prompt).sum()),
            input_audio=int(is_speech(prompt).sum()),
            output_text=int(is_text(made).sum()),
            output_audio=int(is_speech(made).sum()) + self._num_read,
        )
        timings = Timings(
            **self._times,
            total=time.perf_counter() - self.started,
            listen=self.encode_seconds,
            think=self.decoder.seconds,
            speak=self._pipe.worked if self._pipe else 0.0,
        )
        return ReplyDone(
            status=status,
            reason=reason,
            text=self.text,
            transcript=self.transcript,
            confidence=self.decoder.confidence,
            is_understood=self.decoder.is_understood,
            usage=usage,
            timings=timings,
        )

    def _note(self, name: str) -> None:
        if name not in self._times:
            self._times[name] = time.perf_counter() - self.started


def drain(queue: asyncio.Queue[Event]) -> list[Event]:
    """Take all events out of a queue."""
    found = []
    while not queue.empty():
        found.append(queue.get_nowait())
    return found
