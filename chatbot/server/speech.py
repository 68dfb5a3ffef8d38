"""Route ``POST /v1/audio/speech``: text to speech, streamed where the format allows it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from chatbot.engine.engine import Engine
from chatbot.engine.events import ReplyDone, Status, Timings, Usage
from chatbot.engine.pcm import WIRE_RATE, Resampler, encode_base64, encode_pcm16
from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.frame_rate import SAMPLES_PER_TOKEN

from .completion import server_event
from .dialogue import chosen_voice
from .errors import ApiError, CheckedRoute, event_stream, responses
from .messages import Body, VoiceId
from .metrics import Metrics
from .models import check_model
from .options import ServerOptions
from .sound import MEDIA_TYPES, encode_sound, wav_header
from .stream import StreamedResponse, primed, while_connected
from .usage import TokenUsage

ROUTE = "/v1/audio/speech"
SPEECH_USAGE = {"input_tokens", "output_tokens", "total_tokens"}
FileFormat = Literal["mp3", "opus", "flac", "wav", "pcm"]


class SpeechRequest(Body):
    """A text to be read aloud."""

    model: str
    input: str = Field(min_length=1)
    voice: str | VoiceId = Field(
        description="one of the model's (see /v1/models); 'default' and OpenAI's names are its own"
    )
    response_format: FileFormat | None = Field(
        default=None, description="mp3 if not given; pcm (24 kHz mono) and wav are sent while they are made"
    )
    stream_format: Literal["audio", "sse"] | None = None
    speed: Annotated[float, Field(ge=1, le=1, allow_inf_nan=False)] | None = Field(
        default=None, description="the model speaks at one speed"
    )
    instructions: Annotated[str, Field(max_length=0)] | None = None


@dataclass
class SpokenProgress:
    """Progress of reading a text aloud."""

    text: str
    num_samples: int = 0


class SpeechEndpoint:
    """Reads texts aloud.

    Args:
        engine: makes the speech.
        options: limits.
        metrics: counts it.
    """

    def __init__(self, engine: Engine, options: ServerOptions, metrics: Metrics) -> None:
        self.engine, self.options, self.metrics = engine, options, metrics

    async def read_aloud(self, body: SpeechRequest) -> StreamedResponse:
        """The response to a request.

        Raises:
            ApiError: what is wrong with it.
            UserError: the engine does not take the text.
        """
        check_model(body.model, self.engine, self.options)
        if len(body.input) > self.options.max_text_characters:
            message = f"{len(body.input)} characters; send at most {self.options.max_text_characters}"
            raise ApiError(400, message, param="input", code="string_above_max_length")
        voice = chosen_voice(body.voice, self.engine, "voice")
        spoken = SpokenProgress(body.input)
        speech = await primed(self.counted(spoken, voice))
        form: FileFormat = body.response_format or "mp3"
        if body.stream_format == "sse":
            pieces, media_type = self.events(self.file(speech, form), spoken), "text/event-stream"
        else:
            pieces, media_type = self.file(speech, form), MEDIA_TYPES[form]
        return StreamedResponse(pieces, media_type=media_type, seconds=self.options.request_seconds)

    async def counted(self, spoken: SpokenProgress, voice: str) -> AsyncGenerator[Samples]:
        """The speech of a text, piece by piece, counted."""
        started, first_audio = time.perf_counter(), None
        status: Status = "cancelled"
        try:
            async with aclosing(self.engine.speak(spoken.text, voice=voice)) as pieces:
                async for samples in pieces:
                    first_audio = first_audio or time.perf_counter() - started
                    spoken.num_samples += len(samples)
                    yield samples
            status = "completed"
        finally:
            timings = Timings(first_audio=first_audio, total=time.perf_counter() - started)
            done = ReplyDone(status=status, usage=self.usage(spoken), timings=timings)
            self.metrics.count_reply(done, spoken.num_samples / self.engine.sample_rate, "speech")

    def usage(self, spoken: SpokenProgress) -> Usage:
        """Tokens of a text and of its speech."""
        num_tokens = round(spoken.num_samples / self.engine.sample_rate * SAMPLE_RATE / SAMPLES_PER_TOKEN)
        text_ids = self.engine.bundle.spoken_vocabulary.encode_text(spoken.text)
        return Usage(input_text=len(text_ids), output_audio=num_tokens)

    async def file(self, speech: AsyncGenerator[Samples], form: FileFormat) -> AsyncGenerator[bytes]:
        """The pieces of an audio file: as they are made for pcm and wav, the whole file at once for others."""
        rate = self.engine.sample_rate
        async with aclosing(speech):
            if form == "wav":
                yield wav_header(rate)
                async for samples in speech:
                    yield encode_pcm16(samples)
            elif form == "pcm":
                resampler = Resampler(rate, WIRE_RATE)
                async for samples in speech:
                    yield encode_pcm16(resampler.feed(samples))
                yield encode_pcm16(resampler.finish())
            else:
                whole = [np.zeros(0, dtype=np.float32), *[samples async for samples in speech]]
                yield await asyncio.to_thread(encode_sound, np.concatenate(whole), rate, form)

    async def events(self, file: AsyncGenerator[bytes], spoken: SpokenProgress) -> AsyncGenerator[bytes]:
        """The file's pieces as server-sent events."""
        async with aclosing(file):
            async for piece in file:
                if piece:
                    yield server_event({"type": "speech.audio.delta", "audio": encode_base64(piece)})
        usage = TokenUsage.of(self.usage(spoken))
        yield server_event({"type": "speech.audio.done", "usage": usage.model_dump(include=SPEECH_USAGE)})


def make_router(engine: Engine, options: ServerOptions, metrics: Metrics) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["audio"], route_class=CheckedRoute)
    speaker = SpeechEndpoint(engine, options, metrics)
    schema = responses(400, 404, 415, 504)
    binary = {"schema": {"type": "string", "format": "binary"}}
    schema[200] = {
        "description": "The speech",
        "content": dict.fromkeys(sorted(set(MEDIA_TYPES.values())), binary)
        | event_stream("a piece of the file in base64, or the end"),
    }

    @router.post(ROUTE, responses=schema, response_class=Response)
    async def create_speech(body: SpeechRequest, request: Request) -> Response:
        """Read a text aloud."""
        return await while_connected(request.receive, speaker.read_aloud(body), options.request_seconds)

    return router
