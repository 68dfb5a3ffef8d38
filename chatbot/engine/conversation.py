"""One conversation with the chatbot: speech is encoded while the user speaks, a reply can be interrupted.

    conversation = engine.open()
    conversation.feed(samples)                         # any length, as it comes
    await conversation.commit()                        # the user's turn is over
    async for event in conversation.respond():         # text and speech, ReplyDone last
        ...

The model reads the user's speech as soon as it is tokens. Its context is always a function of the messages
(`chatbot.engine.context_window`): a change of them (truncate, clear, a typed message) changes the ids that are wanted,
and the model reads again from the first id on that differs.

S samples.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import chat_message
from lm.data.special_tokens import SpecialToken
from runtime.errors import UserError

from .context_window import Message, Role, is_spoken, text_message, truncated, visible, whole_tokens
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
        messages: the conversation so far.
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
        self._is_unheard = False  # nobody spoke in the user's latest turn, and nothing else waits for a reply

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
        self._begin_turn()
        self._read()

    async def commit(self) -> CommittedTurn:
        """End the user's turn: its speech becomes a message, but no message where nobody spoke.

        Raises:
            UserError: it was too short or too long; it is dropped.
        """
        self._check_open()
        started = time.perf_counter()
        seconds = self._turn.seconds
        try:
            self._bundle.check_seconds(seconds)
            codes = await self._turn.finish()
        except UserError:
            self.clear()
            raise
        return self._add_spoken("user", codes, seconds, started, ends_turn=True)

    async def add_audio(self, samples: Samples, role: Role = "user") -> CommittedTurn:
        """Add a whole spoken message, but none where nobody speaks; a turn in the making is not touched.

        Raises:
            UserError: too short, too long, or no samples.
        """
        self._check_open()
        audio = checked_samples(samples)
        seconds = len(audio) / SAMPLE_RATE
        self._bundle.check_seconds(seconds)
        started = time.perf_counter()
        codes = (await self.models.encode(audio)).tolist()
        return self._add_spoken(role, codes, seconds, started)

    def _add_spoken(
        self, role: Role, codes: list[int], seconds: float, started: float, *, ends_turn: bool = False
    ) -> CommittedTurn:
        if codes:
            ids = self._spoken("user" if role == "user" else "assistant", codes)
            self.messages.append(Message(role, ids, is_spoken=role == "user"))
        is_waiting = bool(self.messages) and self.messages[-1].role == "user"
        self._is_unheard = role == "user" and not codes and not is_waiting
        if ends_turn:
            self._begin_turn()
        self._read()
        self._encode_seconds = time.perf_counter() - started
        return CommittedTurn(seconds=seconds, tokens=len(codes))

    def add_text(self, role: Role, text: str) -> None:
        """Add a typed message.

        Raises:
            UserError: no such role, or no text.
        """
        self._check_open()
        if role not in ROLES:
            raise UserError("role", found=repr(role), remedy=f"choose one of {', '.join(ROLES)}")
        if not text.strip():
            raise UserError("the message", found="no text", remedy="write something")
        learnt = text if role == "system" else self._bundle.settings.reply.as_learnt(text)
        message = text_message(role, learnt, self._vocabulary)
        if len(message.ids) > self._bundle.max_prompt_tokens:
            remedy = f"write at most {self._bundle.max_prompt_tokens} tokens"
            raise UserError("the message", found=f"{len(message.ids)} tokens", remedy=remedy)
        self.messages.append(message)
        self._encode_seconds, self._is_unheard = 0.0, False
        self._read()

    def _begin_turn(self) -> None:
        self._turn.close()
        if self._is_open:  # it may have been closed while a commit waited
            self._turn = TurnEncoder(self.models, self._read)

    # -- the model's context ------------------------------------------------------------------------------------

    def _spoken(self, role: Role, codes: list[int]) -> list[int]:
        return chat_message(role, np.array(codes, dtype=np.uint16), self._vocabulary).tolist()

    def _read(self) -> None:
        """Let the model read what is wanted now, unless it is replying."""
        if self._reply is None and self._is_open:
            # Without EOA: more speech may follow.
            ids = self._spoken("user", self._turn.codes)[:-1]
            unfinished = [Message("user", ids, is_spoken=True)] if self._turn.codes else []
            ids = self._visible([*self.messages, *unfinished])
            if not unfinished and self.messages and self.messages[-1].role == "user":
                ids.append(self._vocabulary.special(SpecialToken.ASSISTANT))  # that is how every reply begins
            self._context.set(ids)

    def _visible(self, messages: list[Message], instructions: str | None = None) -> list[int]:
        bundle, reply = self._bundle, self._bundle.settings.reply
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

    async def respond(self, options: ReplyOptions | None = None) -> AsyncGenerator[Event]:
        """Reply to the messages; events as they are known, exactly one `ReplyDone` last.

        Where nobody spoke in the user's latest turn, that is the only event, with the reason `NO_SPEECH`.

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
        if self._is_unheard:
            yield ReplyDone(status="completed", reason=NO_SPEECH)
            return
        if not any(message.role == "user" for message in self.messages):
            raise UserError("the conversation", found="nothing to reply to", remedy="say or write something first")
        ids = [*self._visible(self.messages, options.instructions), self._vocabulary.special(SpecialToken.ASSISTANT)]
        if len(ids) > self._bundle.max_prompt_tokens + 1:
            remedy = f"say at most {self._bundle.max_prompt_tokens} tokens in one turn"
            raise UserError("the dialogue", found=f"{len(ids)} tokens", remedy=remedy)
        self._context.set(ids)
        self._reply = reply = ReplyTask(
            self.models,
            self._context,
            options,
            has_transcript=is_spoken(self.messages),
            encode_seconds=self._encode_seconds,
        )
        self._encode_seconds = 0.0
        try:
            async with contextlib.aclosing(reply.events()) as events:
                async for event in events:
                    if isinstance(event, ReplyDone):
                        self._remember(reply)
                    yield event
        finally:
            self._remember(reply)

    def _remember(self, reply: ReplyTask) -> None:
        """Keep a reply that has ended; then the model reads the user's speech that came meanwhile."""
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
        for at in range(len(self.messages) - 1, -1, -1):
            if self.messages[at].role == "assistant":
                self.messages[at] = truncated(self.messages[at], whole_tokens(played_seconds), self._vocabulary)
                break
        self._read()

    def close(self) -> None:
        """End the conversation and free its row of the language model."""
        if self._is_open:
            self._is_open = False
            self.cancel()
            self._turn.close()
            self._context.close()
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
