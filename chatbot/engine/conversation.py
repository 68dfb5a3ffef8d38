"""One dialogue with an engine: it hears while the user speaks, replies while it thinks, and can be interrupted.

    talker = engine.open()
    talker.hear(samples)                         # any length, as it comes
    await talker.commit()                        # the user's turn is over
    async for event in talker.respond():         # text and speech, ReplyDone last
        ...

The model reads what is heard as soon as it is tokens. Its context is always a function of the messages
(`chatbot.engine.context_window`): whatever changes them (truncate, clear, a typed message) changes the ids that are
wanted, and the model reads again from the first id on that differs.

S samples.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import chat_message
from lm.data.special_tokens import SpecialToken
from runtime.errors import UserError
from tokenizer.streaming import TokenStream

from .context_window import Message, Role, is_spoken, text_message, truncated, visible, whole_tokens
from .events import Event, HeardQuestion, ReplyDone
from .generation import ReplyOptions, ReplyTask
from .reply_decoder import Sampling
from .silence import SilenceFilter

if TYPE_CHECKING:
    from .engine import Engine

ROLES = ("user", "assistant", "system")


class AudioBacklogError(UserError):
    """More audio came than can wait to be heard."""


class Conversation:
    """One dialogue; open it with `Engine.open`.

    Args:
        engine: the models.
        voice: that replies are spoken in.
        instructions: the system prompt; "" is none.

    Attributes:
        messages: the dialogue so far.
        touched: when something was last asked of it (`time.monotonic`).
    """

    def __init__(self, engine: Engine, voice: str, instructions: str) -> None:
        self.engine, self.voice, self.instructions = engine, voice, instructions
        self.messages: list[Message] = []
        self.touched = time.monotonic()
        self._vocabulary = engine.bundle.vocabulary
        self._context = engine.backend.open()
        self._reply: ReplyTask | None = None
        self._is_open = True
        self._listened = 0.0
        self._start_hearing()

    # -- hearing ------------------------------------------------------------------------------------------------

    def hear(self, samples: Samples) -> None:
        """Take (S,) float32 samples at 16 kHz of what the user says; tokens are made and read as they come.

        Silence before, between and after the words is left out (`chatbot.engine.silence`).

        Raises:
            UserError: no such samples, or the talker is closed.
            AudioBacklogError: too much audio waits to be heard; these samples were not taken.
        """
        self._check_open()
        audio = checked(samples)
        waiting, most = (self._waiting + len(audio)) / SAMPLE_RATE, self.engine.options.max_waiting_seconds
        if waiting > most and self._pieces:
            remedy = "send audio no faster than it is spoken, or wait a moment"
            raise AudioBacklogError("the audio", found=f"{waiting:.1f} s that wait to be heard", remedy=remedy)
        self._seconds += len(audio) / SAMPLE_RATE
        if self._seconds <= self.engine.limits.max_question_seconds:  # commit tells what is too long
            self._take(self._silence.feed(audio))

    def clear(self) -> None:
        """Forget what was heard since the last commit."""
        self._check_open()
        self._start_hearing()
        self._read()

    async def commit(self) -> HeardQuestion:
        """The user's turn is over.

        Raises:
            UserError: it was too short or too long; it is forgotten.
        """
        self._check_open()
        started = time.perf_counter()
        seconds = self._seconds
        try:
            self.engine.bundle.check_seconds(seconds)
        except UserError:
            self.clear()
            raise
        self._take(self._silence.finish())
        while self._task is not None:
            await asyncio.wait([self._task])
            if self._failure is not None:
                failure = self._failure
                self.clear()
                raise failure
        stream = self._stream
        rest = await self.engine.ears.run(stream.finish)
        codes = [*self._codes, *rest.tolist()]
        ids = self._spoken("user", codes)
        self.messages.append(Message("user", ids, is_spoken=True))
        self._start_hearing()
        self._read()
        self._listened = time.perf_counter() - started
        return HeardQuestion(seconds=seconds, tokens=len(codes))

    async def add_audio(self, samples: Samples, role: Role = "user") -> HeardQuestion:
        """A whole spoken message; what was being heard is not touched.

        Raises:
            UserError: too short, too long, or no samples.
        """
        self._check_open()
        audio = checked(samples)
        seconds = len(audio) / SAMPLE_RATE
        self.engine.bundle.check_seconds(seconds)
        started = time.perf_counter()
        codes = await self.engine.listen(audio)
        ids = self._spoken("user" if role == "user" else "assistant", codes.tolist())
        self.messages.append(Message(role, ids, is_spoken=role == "user"))
        self._read()
        self._listened = time.perf_counter() - started
        return HeardQuestion(seconds=seconds, tokens=len(codes))

    def add_text(self, role: Role, text: str) -> None:
        """A typed message, or one of the dialogue before.

        Raises:
            UserError: no such role, or no text.
        """
        self._check_open()
        if role not in ROLES:
            raise UserError("role", found=repr(role), remedy=f"choose one of {', '.join(ROLES)}")
        if not text.strip():
            raise UserError("the message", found="no text", remedy="write something")
        learnt = text if role == "system" else self.engine.bundle.settings.reply.as_learnt(text)
        message = text_message(role, learnt, self._vocabulary)
        if len(message.ids) > self.engine.bundle.max_prompt_tokens:
            remedy = f"write at most {self.engine.bundle.max_prompt_tokens} tokens"
            raise UserError("the message", found=f"{len(message.ids)} tokens", remedy=remedy)
        self.messages.append(message)
        self._listened = 0.0
        self._read()

    def _start_hearing(self) -> None:
        """Nothing was heard yet."""
        self._pieces: deque[Samples] = deque()
        self._waiting, self._seconds = 0, 0.0  # samples that are no tokens yet; seconds heard
        self._codes: list[int] = []
        self._silence = SilenceFilter(self.engine.bundle.settings.reply.kept_silence)
        self._stream = self.engine.bundle.tokenizer.open_stream()
        self._task: asyncio.Task[None] | None = None
        self._failure: UserError | None = None

    def _take(self, audio: Samples) -> None:
        """Samples that are to become tokens."""
        if not len(audio):
            return
        self._pieces.append(audio)
        self._waiting += len(audio)
        if self._task is None:
            self._task = asyncio.create_task(self._tokenise(self._stream))

    async def _tokenise(self, stream: TokenStream) -> None:
        """Make tokens of all that waits, and let the model read them."""
        try:
            while self._pieces and stream is self._stream:
                audio = np.concatenate(self._pieces)
                self._pieces.clear()
                codes = await self.engine.ears.run(lambda audio=audio: stream.feed(audio))  # type: ignore[misc]
                if stream is not self._stream:  # it was cleared meanwhile
                    return
                self._waiting -= len(audio)
                if len(codes):
                    self._codes += codes.tolist()
                    self._read()
        except UserError as error:
            self._failure = error
        finally:
            if stream is self._stream:
                self._task = None

    # -- the model's context ------------------------------------------------------------------------------------

    def _spoken(self, role: Role, codes: list[int]) -> list[int]:
        return chat_message(role, np.array(codes, dtype=np.uint16), self._vocabulary).tolist()

    def _read(self) -> None:
        """Let the model read what is wanted now, unless it is replying."""
        if self._reply is None and self._is_open:
            # Without EOA: more speech may follow.
            ids = self._spoken("user", self._codes)[:-1]
            unfinished = [Message("user", ids, is_spoken=True)] if self._codes else []
            ids = self._visible([*self.messages, *unfinished])
            if not unfinished and self.messages and self.messages[-1].role == "user":
                ids.append(self._vocabulary.special(SpecialToken.ASSISTANT))  # that is how every reply begins
            self._context.set(ids)

    def _visible(self, messages: list[Message], instructions: str | None = None) -> list[int]:
        bundle, reply = self.engine.bundle, self.engine.bundle.settings.reply
        system = bundle.reply_format.system_prompt(reply.system, is_spoken=is_spoken(messages))
        if reply.follows_instructions:
            own = self.instructions if instructions is None else instructions
            given = [message for message in messages if message.role == "system"]
            system = "" if given and not own else own or system
        else:
            given = []
        first = [text_message("system", system, self._vocabulary)] if system else []
        said = [message for message in messages if message.role != "system"]
        return visible([*first, *given, *said], remembered_turns=reply.remembered_turns, most=bundle.max_prompt_tokens)

    # -- replying -----------------------------------------------------------------------------------------------

    async def respond(
        self,
        *,
        has_audio: bool = True,
        has_text: bool = True,
        voice: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        instructions: str | None = None,
    ) -> AsyncGenerator[Event]:
        """Reply to the messages; events as they are known, exactly one `ReplyDone` last.

        Leaving the iterator, or `cancel`, stops it within one block of speech. What is heard meanwhile is read
        afterwards.

        Raises:
            UserError: a reply is being made, there is nothing to reply to, or an option is wrong.
        """
        self._check_open()
        options = ReplyOptions(
            voice=voice or self.voice,
            has_audio=has_audio,
            has_text=has_text,
            sampling=Sampling(max_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed),
        )
        options.check(self.engine)
        if self._reply is not None:
            raise UserError("the talker", found="a reply is being made", remedy="wait for its end, or cancel it")
        if not any(message.role == "user" for message in self.messages):
            raise UserError("the talker", found="nothing to reply to", remedy="say or write something first")
        ids = [*self._visible(self.messages, instructions), self._vocabulary.special(SpecialToken.ASSISTANT)]
        if len(ids) > self.engine.bundle.max_prompt_tokens + 1:
            remedy = f"say at most {self.engine.bundle.max_prompt_tokens} tokens in one turn"
            raise UserError("the dialogue", found=f"{len(ids)} tokens", remedy=remedy)
        self._context.set(ids)
        self._reply = reply = ReplyTask(
            self.engine, self._context, options, has_transcript=is_spoken(self.messages), listened=self._listened
        )
        self._listened = 0.0
        try:
            async with contextlib.aclosing(reply.events()) as events:
                async for event in events:
                    if isinstance(event, ReplyDone):
                        self._remember(reply)
                    yield event
        finally:
            self._remember(reply)

    def _remember(self, reply: ReplyTask) -> None:
        """Keep what was said of a reply that has ended; then the model reads what was heard meanwhile."""
        if self._reply is not reply:
            return
        self._reply = None
        self.touched = time.monotonic()
        self.messages.append(reply.message())
        self._read()

    def cancel(self) -> None:
        """Stop the reply that is being made, if one is; its `ReplyDone` says ``cancelled``."""
        if self._reply is not None:
            self._reply.cancel()

    def truncate(self, heard_seconds: float) -> None:
        """After an interruption: only what was played of the last reply stays in the dialogue.

        Raises:
            UserError: a reply is still being made.
        """
        self._check_open()
        if self._reply is not None:
            raise UserError("the talker", found="a reply is being made", remedy="cancel it before you truncate it")
        for at in range(len(self.messages) - 1, -1, -1):
            if self.messages[at].role == "assistant":
                self.messages[at] = truncated(self.messages[at], whole_tokens(heard_seconds), self._vocabulary)
                break
        self._read()

    def close(self) -> None:
        """End the dialogue and free its row."""
        if self._is_open:
            self._is_open = False
            self.cancel()
            self._start_hearing()
            self._context.close()
            self.engine.forget(self)

    @property
    def is_responding(self) -> bool:
        """Whether a reply is being made."""
        return self._reply is not None

    @property
    def queued_seconds(self) -> float:
        """Of audio that waits to be heard."""
        return self._waiting / SAMPLE_RATE

    def _check_open(self) -> None:
        self.touched = time.monotonic()
        if not self._is_open:
            raise UserError("the talker", found="closed", remedy="open a new one")


def checked(samples: Samples) -> Samples:
    """(S,) float32.

    Raises:
        UserError: an array of another shape, of no numbers, or with NaN or infinite samples.
    """
    audio = np.asarray(samples)
    if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
        found = f"an array of shape {audio.shape}, type {audio.dtype}"
        raise UserError("the audio", found=found, remedy="give one channel of float32 samples at 16 kHz")
    if not np.isfinite(audio).all():
        raise UserError("the audio", found="NaN or infinite samples", remedy="send samples from -1 to 1")
    return audio.astype(np.float32, copy=True)
