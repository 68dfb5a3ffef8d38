"""A text-to-speech server as a reader aloud: ``POST /v1/audio/speech`` of OpenAI and of ``speechweave serve``."""

from __future__ import annotations

import io
from collections.abc import Sequence

import httpx

from corpus.audio.files import open_audio, to_mono
from runtime.chat_endpoint import OpenAIEndpoint, UnansweredError, UnreadableAnswerError
from runtime.errors import UserError
from text2token.gate import EMPTY, UNANSWERED, count_letters
from text2token.speech_generation import SynthesisRequest

from .base import NO_AUDIO, ReadSpan
from .config import AloudConfig


class EndpointReader:
    """A `text2token.reading.base.SpanReader`; several requests are under way at once.

    A span that gets no answer after all retries stays text, as one that fails the gate. Servers draw anew for each
    request: units that are done stay as they are, but two runs are not equal byte for byte.

    Args:
        config: ``endpoint`` and ``requests`` are read.
        device: unused.
    """

    is_repeatable = False

    def __init__(self, config: AloudConfig, device: str = "cpu") -> None:
        options = config.endpoint
        self.voices, self.format = tuple(options.voices), options.format
        names = ("endpoint.url", "endpoint.model")
        self.endpoint = OpenAIEndpoint(options.url, options.model, config.requests, names)

    def check(self) -> None:
        """Raise a `UserError` where the server does not read a word aloud."""
        try:
            self.endpoint.post("/audio/speech", self._body("one", self.voices[0]), self._audio)
        except UnansweredError as error:
            found = f"no audio for a word in the voice {self.voices[0]!r} ({error})"
            raise UserError(self.endpoint.url, found=found, remedy="check endpoint.* and the server") from error

    def read(self, requests: Sequence[SynthesisRequest]) -> list[ReadSpan]:
        """The audio of each request.

        Raises:
            UserError: the server refuses the key or does not know model or route.
        """
        with self.endpoint.pool() as pool:
            return list(pool.map(self._read, requests))

    def _read(self, request: SynthesisRequest) -> ReadSpan:
        if not count_letters(request.text):
            return ReadSpan(NO_AUDIO, EMPTY)
        body = self._body(request.text, request.speaker)
        try:
            return self.endpoint.post("/audio/speech", body, self._audio)
        except UnansweredError:
            return ReadSpan(NO_AUDIO, UNANSWERED)

    def _body(self, text: str, voice: str) -> dict[str, str]:
        return {"input": text, "voice": voice, "response_format": self.format}

    def _audio(self, response: httpx.Response) -> ReadSpan:
        name = f"{self.endpoint.url}/audio/speech"
        try:
            with open_audio(io.BytesIO(response.content), name) as file:
                return ReadSpan(to_mono(file.read(), file.rate, name))
        except UserError as error:
            raise UnreadableAnswerError(f"an answer without audio ({error.found})") from error
