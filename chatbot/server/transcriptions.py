"""Route ``POST /v1/audio/transcriptions``: transcription by the language model's own ASR task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Literal

from fastapi import APIRouter, Form, Request, UploadFile
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import PlainTextResponse, Response

from chatbot.engine.engine import Engine
from chatbot.engine.events import Transcript as Heard

from .completion import server_event
from .errors import event_stream, responses
from .messages import Zero
from .metrics import Metrics
from .models import check_model
from .options import ServerOptions
from .sound import decode_sound
from .stream import StreamedResponse, while_connected
from .usage import TokenUsage

ROUTE = "/v1/audio/transcriptions"


class TranscriptionForm(BaseModel):
    """A spoken file and how it is written down."""

    model_config = ConfigDict(extra="forbid")

    file: UploadFile = Field(description="WAV, MP3, FLAC or Ogg; any sample rate, mono or stereo")
    model: str
    response_format: Literal["json", "text", "verbose_json"] = "json"
    language: str | None = Field(default=None, max_length=35, description="not used: the model knows what it learned")
    prompt: Annotated[str, Field(max_length=0)] | None = None
    temperature: Zero | None = None
    stream: bool = False


class TranscriptionBody(BaseModel):
    """The words."""

    text: str
    usage: TokenUsage


class VerboseTranscription(BaseModel):
    """The words, and how long the speech was. The model tells no language: ``und`` unless the request named one."""

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    text: str


async def events(heard: Heard) -> AsyncGenerator[bytes]:
    """A transcription as a stream; the model tells it in one piece."""
    yield server_event({"type": "transcript.text.delta", "delta": heard.text})
    usage = TokenUsage.of(heard.usage).model_dump()
    yield server_event({"type": "transcript.text.done", "text": heard.text, "usage": usage})


def make_router(engine: Engine, options: ServerOptions, metrics: Metrics) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["audio"])
    schema = responses(400, 404, 415, 504)
    schema[200] = {
        "description": "The words",
        "content": {"text/plain": {"schema": {"type": "string"}}, **event_stream("a piece of the text, or all of it")},
    }

    @router.post(ROUTE, responses=schema, response_model=TranscriptionBody | VerboseTranscription)
    async def create_transcription(
        form: Annotated[TranscriptionForm, Form(media_type="multipart/form-data")], request: Request
    ) -> TranscriptionBody | VerboseTranscription | Response:
        """Write a spoken file down."""
        return await while_connected(request.receive, answer(form), options.request_seconds)

    async def answer(form: TranscriptionForm) -> TranscriptionBody | VerboseTranscription | Response:
        check_model(form.model, engine, options)
        data = await form.file.read()
        heard = await engine.transcribe(await asyncio.to_thread(decode_sound, data, "file", options.max_audio_seconds))
        metrics.count_tokens(heard.usage)
        if form.stream:
            return StreamedResponse(events(heard), media_type="text/event-stream", seconds=options.request_seconds)
        if form.response_format == "text":
            return PlainTextResponse(heard.text + "\n")
        if form.response_format == "verbose_json":
            return VerboseTranscription(language=form.language or "und", duration=heard.seconds, text=heard.text)
        return TranscriptionBody(text=heard.text, usage=TokenUsage.of(heard.usage))

    return router
