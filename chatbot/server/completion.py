"""Responses of ``/v1/chat/completions``: a whole completion, and the chunks of a stream."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from chatbot.engine.events import ReplyDone

from .usage import CompletionUsage

FinishReason = Literal["stop", "length"]


class AudioReply(BaseModel):
    """A spoken reply."""

    id: str
    data: str = Field(description="base64 of the file")
    transcript: str
    expires_at: int = Field(description="Unix time until which messages may name the reply by its id")


class ReplyMessage(BaseModel):
    """The reply: as text, or as speech with its transcript."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    audio: AudioReply | None = None


class Choice(BaseModel):
    """The one reply."""

    index: Literal[0] = 0
    message: ReplyMessage
    finish_reason: FinishReason
    logprobs: None = None


class Completion(BaseModel):
    """A reply, whole.

    Two fields are ours: ``heard``, the transcript of the last spoken message, "" where nobody spoke; ``is_understood``,
    false where the reply says that the model did not understand.
    """

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage
    heard: str | None = None
    is_understood: bool = True


class AudioDeltaReply(BaseModel):
    """A piece of a spoken reply."""

    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class Delta(BaseModel):
    """The addition of one chunk. ``heard`` (a piece of the transcript) and ``is_understood`` (at the end) are ours."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    audio: AudioDeltaReply | None = None
    heard: str | None = None
    is_understood: bool | None = None


class ChunkChoice(BaseModel):
    """A piece of the one reply."""

    index: Literal[0] = 0
    delta: Delta
    finish_reason: FinishReason | None = None


class Chunk(BaseModel):
    """One event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None

    def event(self) -> bytes:
        """The chunk as a server-sent event; what it does not tell is left out, but a finish reason is always named."""
        plain = self.model_dump(exclude_none=True)
        for choice in plain["choices"]:
            choice.setdefault("finish_reason", None)
        return server_event(plain)


def server_event(plain: object) -> bytes:
    """One server-sent event of JSON."""
    import json

    return b"data: " + json.dumps(plain, ensure_ascii=False).encode() + b"\n\n"


def finish_reason(done: ReplyDone) -> FinishReason:
    """Whether the model ended the reply, or a limit did."""
    return "stop" if done.status == "completed" else "length"
