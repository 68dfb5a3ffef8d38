"""One conversation with the chatbot: speech is encoded while the user speaks, a reply can be interrupted.

    conversation = engine.open()
    conversation.feed(samples)                         # any length, as it comes
    await conversation.commit()                        # the user's turn is over
    async for event in conversation.respond():         # text and speech, ReplyDone last
        ...

The messages are the only record of the dialogue; items of the Realtime protocol are messages of it. The model reads
the user's speech as soon as it is tokens. Its context is always a function of the messages
(`chatbot.engine.context_window`): a change of them (truncate, remove, a typed message) changes the ids that are wanted,
and the model reads again from the first id on that differs.

S samples.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import chat_message
from lm.data.special_tokens import SpecialToken
from lm.inference.lent_vectors import fill_placeholders
from runtime.errors import UserError
from runtime.streaming import Array

from .context_window import Message, Role, is_spoken, truncate, visible, whole_tokens
from .events import NO_SPEECH, CommittedTurn, Event, ReplyDone
from .generation import ReplyTask, check_reply
from .models import Models
from .options import ReplyOptions
from .pcm import checked_samples
from .turn_encoder import TurnEncoder

ROLES = ("user", "assistant", "system")


class Conversation:
    """One conversation; open it with `chatbot.engine.engine.Engine.open`.

    Args:
        models: shared by all conversations.
        voice: that replies are spoken in.
        instructions: the system prompt; "" is none.
        on_close: called with the conversation when it is closed.

    Attributes:
        messages: the conversation so far, in order. A turn in which nobody spoke and a reply in the making are among
            them, without ids.
        touched: time of its latest use (`time.monotonic`).
    """

    def __init__(self, models: Models, voice: str, instructions: str, on_close: Callable[[Conversation], None]) -> None:
        self.models, self.voice, self.instructions = models, voice, instructions
        self.messages: list[Message] = []
        self.touched = time.monotonic()
        self._bundle, self._vocabulary = models.bundle, models.bundle.vocabulary
        self._on_close = on_close
        self._context = models.backend.open()
        self._turn = TurnEncoder(models, self._read)
        self._reply: ReplyTask | None = None
        self._is_open = True
        self._encode_seconds = 0.0  # work that was left at the end of the user's turn
        self._unused: list[int] = []  # of messages that are gone, which the context may still hold

    # -- the user's turn ----------------------------------------------------------------------------------------

    def feed(self, samples: Samples) -> None:
        """Take (S,) float32 samples at 16 kHz of the user's speech; tokens are made and read as they come.

        Silence before, between and after the words is left out (`chatbot.engine.silence`).

        Raises:
            UserError: no such samples, or the conversation is closed.
            AudioBacklogError: too much audio waits to be encoded; these samples were not taken.
        """
        self._check_open()
        self._turn.feed(checked_samples(samples))

    def clear(self) -> None:
        """Drop the speech since the last commit."""
        self._check_open()
        self._unused += self._turn.ids
        self._begin_turn()
        self._read()

    async def commit(self, message: Message | None = None) -> CommittedTurn:
        """End the user's turn: its speech becomes a message (``message``, if given), without ids where nobody spoke.

        Raises:
            UserError: it was too short or too long; it is dropped.
        """
        self._check_open()
        started = time.perf_counter()
        seconds = self._turn.seconds
        try:
            self._bundle.check_seconds(seconds)
            has_speech = await self._turn.finish()
        except Exception:
            self.clear()
            raise
        heard = self._turn.ids if has_speech else []
        if not has_speech:
            self._unused += self._turn.ids
        message = message or Message(role="user")
        message.ids, message.is_spoken = self._ids("user", heard), bool(heard)
        self.messages.append(message)
        self._begin_turn()
        self._read()
        self._encode_seconds = time.perf_counter() - started
        return CommittedTurn(seconds=seconds, tokens=len(heard))

    async def add_audio(self, samples: Samples, role: Role = "user") -> CommittedTurn:
        """Add a whole spoken message, without ids where nobody speaks; a turn in the making is not touched.

        Raises:
            UserError: too short, too long, or no samples.
        """
        message = Message(role=role)
        (turn,) = await self.encode(message, [samples])
        self.insert(message)
        return turn

    def add_text(self, role: Role, text: str) -> None:
        """Add a typed message.

        Raises:
            UserError: no such role, or no text.
        """
        self._check_open()
        self._encode_seconds = 0.0
        self.insert(Message(role=role, ids=self._ids(role, self._typed(role, text))))

    async def encode(self, message: Message, content: Sequence[str | Samples]) -> list[CommittedTurn]:
        """Give a message, which is to be inserted, its content: texts, and (S,) samples of speech at 16 kHz.

        Returns:
            the length of each part's speech.

        Raises:
            UserError: no such role, no text, or speech that is too short or too long; the message is as before.
        """
        self._check_open()
        started = time.perf_counter()
        parts: list[str | Array] = []
        turns = []
        for part in content:
            if isinstance(part, str):
                parts.append(self._typed(message.role, part))
                turns.append(CommittedTurn(seconds=0.0, tokens=0))
                continue
            seconds = len(audio := checked_samples(part)) / SAMPLE_RATE
            self._bundle.check_seconds(seconds)
            parts.append(heard := await self.models.encode(audio))
            turns.append(CommittedTurn(seconds=seconds, tokens=len(heard)))
        self._check_open()  # nothing is lent to a conversation that was closed meanwhile
        said = [part if isinstance(part, str) else self.models.hearing.ids(part) for part in parts if len(part)]
        if self._bundle.hearing is None:  # trained with one thing a message
            message.ids = [id for part in said for id in self._ids(message.role, part)]
        else:
            message.ids = self._ids(message.role, *said)
        message.is_spoken = message.role == "user" and any(turn.tokens for turn in turns)
        self._encode_seconds = time.perf_counter() - started
        return turns

    def insert(self, message: Message, place: int | None = None) -> None:
        """Put a message in front of the one at ``place``; None: at the end."""
        self.messages.insert(len(self.messages) if place is None else place, message)
        self._read()

    def remove(self, message: Message) -> None:
        """Take a message out."""
        self.messages.remove(message)
        self._unused += message.ids
        self._read()

    def _begin_turn(self) -> None:
        self._turn.close()
        if self._is_open:  # it may have been closed while a commit waited
            self._turn = TurnEncoder(self.models, self._read)

    # -- the model's context ------------------------------------------------------------------------------------

    def _ids(self, role: Role, *content: str | list[int]) -> list[int]:
        """A message as the model reads it, of texts and of ids of speech; nothing where there are none."""
        pieces = [piece for piece in content if piece]
        if not pieces:
            return []
        spans = [np.array(piece, dtype=np.int32) for piece in pieces if not isinstance(piece, str)]
        places = [piece if isinstance(piece, str) else np.zeros(len(piece), np.uint16) for piece in pieces]
        return fill_placeholders(chat_message(role, places, self._vocabulary), spans, self._vocabulary).tolist()

    def _typed(self, role: Role, text: str) -> str:
        """A typed message as the model has learnt texts; a `UserError` if it is none, or too long."""
        if role not in ROLES:
            raise UserError("role", found=repr(role), remedy=f"choose one of {', '.join(ROLES)}")
        if not text.strip():
            raise UserError("the message", found="no text", remedy="write something")
        learnt = text if role == "system" else self._bundle.settings.reply.as_learnt(text)
        count = len(self._ids(role, learnt))
        if count > self._bundle.max_prompt_tokens:
            remedy = f"write at most {self._bundle.max_prompt_tokens} tokens"
            raise UserError("the message", found=f"{count} tokens", remedy=remedy)
        return learnt

    def _read(self) -> None:
        """Let the model read what is wanted now, unless it is replying."""
        if self._reply is None and self._is_open:
            messages = self._said
            # Without EOA: more speech may follow.
            ids = self._ids("user", self._turn.ids)[:-1]
            unfinished = [Message(role="user", ids=ids, is_spoken=True)] if ids else []
            ids = self._visible([*messages, *unfinished])
            if not unfinished and messages and messages[-1].role == "user":
                ids.append(self._vocabulary.special(SpecialToken.ASSISTANT))  # that is how every reply begins
            self._context.set(ids)
            self.models.hearing.release(self._unused)
            self._unused = []

    def _visible(self, messages: list[Message], instructions: str | None = None) -> list[int]:
        bundle, reply = self._bundle, self._bundle.settings.reply
        system = bundle.reply_format.system_prompt(reply.system, is_spoken=is_spoken(messages))
        if reply.follows_instructions:
            own = self.instructions if instructions is None else instructions
            given = [message for message in messages if message.role == "system"]
            system = "" if given and not own else own or system
        else:
            given = []
        first = [Message(role="system", ids=self._ids("system", system))] if system else []
        said = [message for message in messages if message.role != "system"]
        return visible([*first, *given, *said], remembered_turns=reply.remembered_turns, most=bundle.max_prompt_tokens)

    # -- replying -----------------------------------------------------------------------------------------------

    async def respond(
        self, options: ReplyOptions | None = None, message: Message | None = None
    ) -> AsyncGenerator[Event]:
        """Reply to the messages; events as they are known, exactly one `ReplyDone` last.

        The reply is one of the messages from now on (``message``, if given); its ids come at its end. But where nobody
        spoke in the user's latest turn, there is none: `ReplyDone`, with the reason `NO_SPEECH`, is the only event.

        Leaving the iterator, or `cancel`, stops it within one block of speech. Speech of the user that comes meanwhile
        is read afterwards.

        Raises:
            UserError: a reply is being made, there is nothing to reply to, or an option is wrong.
        """
        self._check_open()
        options = options or ReplyOptions()
        options = replace(options, voice=self.models.check_voice(options.voice or self.voice))
        check_reply(options, self._bundle)
        if self._reply is not None:
            raise UserError("the conversation", found="a reply is being made", remedy="wait for its end, or cancel it")
        messages = self._said
        is_waiting = bool(messages) and messages[-1].role == "user"
        if self.messages and self.messages[-1].role == "user" and not self.messages[-1].ids and not is_waiting:
            yield ReplyDone(status="completed", reason=NO_SPEECH)
            return
        if not any(message.role == "user" for message in messages):
            raise UserError("the conversation", found="nothing to reply to", remedy="say or write something first")
        ids = [*self._visible(messages, options.instructions), self._vocabulary.special(SpecialToken.ASSISTANT)]
        if len(ids) > self._bundle.max_prompt_tokens + 1:
            remedy = f"say at most {self._bundle.max_prompt_tokens} tokens in one turn"
            raise UserError("the dialogue", found=f"{len(ids)} tokens", remedy=remedy)
        self._context.set(ids)
        self._reply = reply = ReplyTask(
            self.models,
            self._context,
            options,
            message or Message(role="assistant"),
            has_transcript=is_spoken(messages),
            encode_seconds=self._encode_seconds,
        )
        self.messages.append(reply.message)
        self._encode_seconds = 0.0
        try:
            async with contextlib.aclosing(reply.events()) as events:
                async for event in events:
                    if isinstance(event, ReplyDone):
                        self._keep(reply)
                    yield event
        finally:
            self._keep(reply)

    def _keep(self, reply: ReplyTask) -> None:
        """Keep a reply that has ended; then the model reads the user's speech that came meanwhile."""
        if self._reply is not reply:
            return
        self._reply = None
        self.touched = time.monotonic()
        reply.keep()
        self._read()

    def cancel(self) -> None:
        """Stop the reply that is being made, if one is; its `ReplyDone` says ``cancelled``."""
        if self._reply is not None:
            self._reply.cancel()

    def truncate(self, played_seconds: float) -> None:
        """After an interruption: only what was played of the last reply stays in the dialogue.

        Raises:
            UserError: a reply is still being made.
        """
        self._check_open()
        if self._reply is not None:
            raise UserError(
                "the conversation", found="a reply is being made", remedy="cancel it before you truncate it"
            )
        if (last := self.last_reply) is not None:
            truncate(last, whole_tokens(played_seconds), self._vocabulary)
        self._read()

    @property
    def _said(self) -> list[Message]:
        """The messages of which the model reads something."""
        return [message for message in self.messages if message.ids]

    @property
    def last_reply(self) -> Message | None:
        """The latest message of the assistant."""
        return next((message for message in reversed(self.messages) if message.role == "assistant"), None)

    def close(self) -> None:
        """End the conversation and free its row of the language model."""
        if self._is_open:
            self._is_open = False
            self.cancel()
            self._turn.close()
            self._context.close()
            held = [id for message in self.messages for id in message.ids]
            self.models.hearing.release([*held, *self._turn.ids, *self._unused])
            self._on_close(self)

    @property
    def is_responding(self) -> bool:
        """Whether a reply is being made."""
        return self._reply is not None

    @property
    def queued_seconds(self) -> float:
        """Seconds of the user's audio that are not encoded yet."""
        return self._turn.waiting_seconds

    def _check_open(self) -> None:
        self.touched = time.monotonic()
        if not self._is_open:
            raise UserError("the conversation", found="closed", remedy="open a new one")
