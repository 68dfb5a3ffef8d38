"""Route ``POST /v1/chat/completions``: replies to dialogues of written and spoken messages, in text or in speech."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.events import NO_SPEECH, AudioDelta, Event, ReplyDone, TextDelta, TranscriptDelta
from chatbot.engine.options import ReplyOptions
from chatbot.engine.pcm import WIRE_RATE, Resampler, encode_base64, encode_pcm16
from corpus.audio.files import Samples
from runtime.errors import UserError

from .completion import (
    AudioDeltaReply,
    AudioReply,
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    ReplyMessage,
    finish_reason,
    server_event,
)
from .dialogue import RequestDialogue, check_output, chosen_voice, read_dialogue
from .errors import ApiError, CheckedRoute, error_body, event_stream, from_user_error, responses
from .messages import CompletionRequest
from .models import check_model
from .options import ServerOptions
from .replies import Replies
from .sound import encode_sound
from .stream import StreamedResponse, primed, while_connected
from .usage import CompletionUsage

ROUTE = "/v1/chat/completions"
log = logging.getLogger("speechweave.server")


@dataclass(kw_only=True)
class CheckedRequest:
    """One request that has been found sound."""

    body: CompletionRequest
    dialogue: RequestDialogue
    voice: str | None
    caller: str | None
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid.uuid4().hex}")
    audio_id: str = field(default_factory=lambda: f"audio_{uuid.uuid4().hex}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def is_spoken(self) -> bool:
        """Whether the reply is speech."""
        return self.voice is not None


class Completions:
    """Replies to requests.

    Args:
        engine: makes them.
        options: limits.
    """

    def __init__(self, engine: Engine, options: ServerOptions) -> None:
        self.engine, self.options = engine, options
        self.replies = Replies(options.remembered_seconds, options.max_remembered)

    async def ask(self, body: CompletionRequest, caller: str | None) -> CheckedRequest:
        """Read and check a request.

        Raises:
            ApiError: what is wrong with it.
        """
        check_model(body.model, self.engine, self.options)
        is_spoken = check_output(body.modalities, body.audio, bool(body.stream))
        voice = None
        if is_spoken and body.audio is not None:
            voice = chosen_voice(body.audio.voice, self.engine, "audio.voice")
        if body.stream_options is not None and not body.stream:
            raise ApiError(400, "stream_options needs stream=true", param="stream_options", code="invalid_value")
        if body.stop and (body.stream or is_spoken):
            raise ApiError(400, "stop needs a written reply without stream", param="stop", code="unsupported_parameter")
        dialogue = await read_dialogue(body.messages, self.options, self.replies, caller)
        return CheckedRequest(body=body, dialogue=dialogue, voice=voice, caller=caller)

    def open(self, asked: CheckedRequest) -> Conversation:
        """A conversation for a request; raises 429 where all are in use."""
        return self.engine.open(voice=asked.voice, instructions=asked.dialogue.instructions)

    async def events(self, conversation: Conversation, asked: CheckedRequest) -> AsyncGenerator[Event]:
        """The reply's events. A reply that failed raises.

        Raises:
            ApiError: 500, the reply failed.
            UserError: the engine does not take the dialogue.
        """
        body = asked.body
        await asked.dialogue.tell(conversation)
        options = ReplyOptions(
            has_audio=asked.is_spoken,
            has_text="text" in (body.modalities or ["text"]),
            voice=asked.voice,
            max_tokens=body.max_completion_tokens or body.max_tokens,
            temperature=body.temperature,
            top_p=body.top_p,
            seed=body.seed,
        )
        async with aclosing(conversation.respond(options)) as events:
            async for event in events:
                if isinstance(event, ReplyDone) and event.status in ("failed", "cancelled"):
                    log.error("%s: the reply was %s: %s", asked.id, event.status, event.reason)
                    raise ApiError(500, "The reply failed; the server's log tells why", code="reply_failed")
                yield event

    async def whole(self, asked: CheckedRequest) -> Completion:
        """The reply when it is complete."""
        conversation = self.open(asked)
        text, heard, pieces = "", "", [np.zeros(0, dtype=np.float32)]
        done = ReplyDone(status="cancelled")
        try:
            async with aclosing(self.events(conversation, asked)) as events:
                async for event in events:
                    match event:
                        case TextDelta():
                            text += event.text
                        case TranscriptDelta():
                            heard += event.text
                        case AudioDelta():
                            pieces.append(event.samples)
                        case ReplyDone():
                            done = event
        finally:
            conversation.close()
        message = ReplyMessage(content=cut_at(done.text, asked.body.stop))
        if asked.is_spoken and asked.body.audio is not None:
            samples, form = np.concatenate(pieces), asked.body.audio.format
            file = await asyncio.to_thread(encode_sound, samples, self.engine.sample_rate, form)
            expires_at = self.replies.expires_at()
            self.replies.keep(asked.audio_id, done.text, asked.caller)
            audio = AudioReply(id=asked.audio_id, data=encode_base64(file), transcript=done.text, expires_at=expires_at)
            message = ReplyMessage(content=None, audio=audio)
        return Completion(
            id=asked.id,
            created=asked.created,
            model=self.engine.model_name,
            choices=[Choice(message=message, finish_reason=finish_reason(done))],
            usage=CompletionUsage.of(done.usage),
            is_understood=done.is_understood,
            heard="" if done.reason == NO_SPEECH else heard or None,
        )

    async def stream(self, asked: CheckedRequest) -> StreamedResponse:
        """The reply as server-sent events.

        Raises:
            ApiError: 429, all conversations are in use.
            UserError: the engine does not take the dialogue.
        """
        conversation = self.open(asked)
        try:
            events = await primed(self.events(conversation, asked))
        except BaseException:
            conversation.close()
            raise
        return StreamedResponse(
            self.chunks(events, asked),
            media_type="text/event-stream",
            seconds=self.options.request_seconds,
            on_end=conversation.close,
        )

    async def chunks(self, events: AsyncGenerator[Event], asked: CheckedRequest) -> AsyncGenerator[bytes]:
        """The server-sent events of a reply."""
        resampler = Resampler(self.engine.sample_rate, WIRE_RATE)

        def chunk(delta: Delta, done: ReplyDone | None = None) -> bytes:
            reason = finish_reason(done) if done else None
            return self.chunk(asked, [ChunkChoice(delta=delta, finish_reason=reason)]).event()

        def sound(samples: Samples) -> bytes:
            data = encode_base64(encode_pcm16(samples))
            return chunk(Delta(audio=AudioDeltaReply(data=data)))

        first = AudioDeltaReply(id=asked.audio_id, transcript="") if asked.is_spoken else None
        yield chunk(Delta(role="assistant", content=None if asked.is_spoken else "", audio=first))
        async with aclosing(events):
            try:
                async for event in events:
                    match event:
                        case TranscriptDelta():
                            yield chunk(Delta(heard=event.text))
                        case TextDelta() if asked.is_spoken:
                            yield chunk(Delta(audio=AudioDeltaReply(transcript=event.text)))
                        case TextDelta():
                            yield chunk(Delta(content=event.text))
                        case AudioDelta():
                            samples = resampler.feed(event.samples)
                            if len(samples):
                                yield sound(samples)
                        case ReplyDone():
                            if event.reason == NO_SPEECH:
                                yield chunk(Delta(heard=""))
                            rest = resampler.finish()
                            if len(rest):
                                yield sound(rest)
                            if asked.is_spoken:
                                expires_at = self.replies.expires_at()
                                self.replies.keep(asked.audio_id, event.text, asked.caller)
                                yield chunk(Delta(audio=AudioDeltaReply(expires_at=expires_at)))
                            yield chunk(Delta(is_understood=None if event.is_understood else False), event)
                            if asked.body.stream_options and asked.body.stream_options.include_usage:
                                yield self.chunk(asked, [], CompletionUsage.of(event.usage)).event()
            except (ApiError, UserError) as error:
                told = from_user_error(error) if isinstance(error, UserError) else error
                yield server_event(error_body(told.status_code, str(told.detail), told.param, told.code))
        yield b"data: [DONE]\n\n"

    def chunk(self, asked: CheckedRequest, choices: list[ChunkChoice], usage: CompletionUsage | None = None) -> Chunk:
        """One chunk of a reply."""
        return Chunk(id=asked.id, created=asked.created, model=self.engine.model_name, choices=choices, usage=usage)


def cut_at(text: str, stop: str | list[str] | None) -> str:
    """The text in front of the first of the stop texts in it; all of it where there is none."""
    ends = [stop] if isinstance(stop, str) else stop or []
    return text[: min((at for end in ends if (at := text.find(end)) >= 0), default=len(text))]


def make_router(engine: Engine, options: ServerOptions) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["chat"], route_class=CheckedRoute)
    completions = Completions(engine, options)
    schema = responses(400, 404, 415, 504)
    schema[200] = {"content": event_stream("a chunk of the reply; the last one is [DONE]")}

    @router.post(ROUTE, responses=schema, response_model=Completion)
    async def create_completion(body: CompletionRequest, request: Request) -> Completion | Response:
        """Continue a dialogue of written and spoken messages, in text or in speech."""
        work = answer(body, request.state.caller)
        return await while_connected(request.receive, work, options.request_seconds)

    async def answer(body: CompletionRequest, caller: str | None) -> Completion | Response:
        asked = await completions.ask(body, caller)
        return await (completions.stream(asked) if body.stream else completions.whole(asked))

    return router
