"""Client of ``/v1/chat/completions`` with streamed speech: a question as one recording, the reply as it is made.

The talker speaks at the pace of speech, as over the Realtime protocol, but the request can only be sent when the whole
recording is there: the end of speech is the moment before it is sent. Each question is a dialogue of its own.

Times are of `time.monotonic`. S samples, all at 24 kHz, mono, int16.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
import wave
from types import TracebackType
from typing import Any

import httpx
import numpy as np

from .exchange import REALTIME_RATE, Exchange, Pcm
from .playback import Arrival
from .realtime_client import ClientOptions, RealtimeClientError

EVENT, LAST = "data: ", "[DONE]"
STATUSES = {"stop": "completed", "length": "incomplete"}
MAX_REASON = 300  # characters of an error's body


class CompletionsClient:
    """Spoken questions as requests of their own.

    Args:
        url: of the server, ``http://`` with host and port.
        options: key, voice, timeout; those of turns and pieces have no meaning here.
    """

    def __init__(self, url: str, options: ClientOptions | None = None) -> None:
        self.options = options or ClientOptions()
        self.base = url.rstrip("/").removesuffix("/v1") + "/v1"

    async def __aenter__(self) -> CompletionsClient:
        """Open a pool of connections, and find the model's name.

        Raises:
            RealtimeClientError: the server refuses the key, or tells no model.
        """
        headers = {"Authorization": f"Bearer {self.options.key}"} if self.options.key else {}
        self.http = httpx.AsyncClient(headers=headers, timeout=self.options.timeout)
        try:
            response = await self.http.get(f"{self.base}/models")
            check_status(response.status_code, response.content)
            self.model = str(response.json()["data"][0]["id"])
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            await self.http.aclose()
            raise RealtimeClientError(f"no list of models ({type(error).__name__}: {error})") from error
        except RealtimeClientError:
            await self.http.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def ask(self, name: str, question: Pcm, *, interrupt_after: float | None = None) -> Exchange:
        """Speak, send the recording, receive the reply to its end, and wait for the end of its playback.

        Args:
            name: of the question.
            question: (S,) its speech.
            interrupt_after: None: over this interface replies are not interrupted.

        Returns:
            The exchange; a refusal or a broken connection is its ``status`` "error" with a ``reason``.
        """
        assert interrupt_after is None
        exchange, body = Exchange(id=name), self._body(question)
        await asyncio.sleep(len(question) / REALTIME_RATE)
        exchange.speech_ended = exchange.committed = time.monotonic()
        try:
            await self._receive_reply(exchange, body)
        except (httpx.HTTPError, RealtimeClientError, ValueError, KeyError, IndexError) as error:
            exchange.status, exchange.reason = "error", f"{type(error).__name__}: {error}"
        if exchange.playback is not None and exchange.status != "error":
            await asyncio.sleep(max(0.0, exchange.playback.ended - time.monotonic()))
        return exchange

    def _body(self, question: Pcm) -> bytes:
        sound = {"data": base64.b64encode(wav_bytes(question)).decode(), "format": "wav"}
        body = {
            "model": self.model,
            "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": sound}]}],
            "modalities": ["text", "audio"],
            "audio": {"voice": self.options.voice or "alloy", "format": "pcm16"},
            "stream": True,
        }
        return json.dumps(body).encode()

    async def _receive_reply(self, exchange: Exchange, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        async with self.http.stream("POST", f"{self.base}/chat/completions", content=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                check_status(response.status_code, await response.aread())
            async for line in response.aiter_lines():
                at = time.monotonic()
                if not line.startswith(EVENT):
                    continue
                if line == EVENT + LAST:
                    exchange.ended = at
                    return
                self._record(exchange, json.loads(line.removeprefix(EVENT)), at)
        raise RealtimeClientError("the stream ended before [DONE]")

    def _record(self, exchange: Exchange, chunk: dict[str, Any], at: float) -> None:
        """Write a chunk that arrived at ``at`` into the exchange."""
        if "error" in chunk:
            raise RealtimeClientError(str(chunk["error"].get("message")))
        for choice in chunk["choices"]:
            delta = choice["delta"]
            audio = delta.get("audio") or {}
            text = audio.get("transcript") or delta.get("content") or ""
            if text and exchange.first_text is None:
                exchange.first_text = at
            exchange.said += text
            if delta.get("heard"):
                exchange.heard = (exchange.heard or "") + delta["heard"]
            if audio.get("data"):
                piece = np.frombuffer(base64.b64decode(audio["data"]), "<i2")
                exchange.pieces.append(piece)
                exchange.arrivals.append(Arrival(at, len(piece)))
            if choice.get("finish_reason"):
                exchange.status = STATUSES.get(choice["finish_reason"], "failed")
                exchange.reason = "" if exchange.status == "completed" else str(choice["finish_reason"])


def check_status(status: int, body: bytes) -> None:
    """Raise `RealtimeClientError` with the beginning of an error's body."""
    if status != httpx.codes.OK:
        raise RealtimeClientError(f"status {status}: {body.decode(errors='replace')[:MAX_REASON]}")


def wav_bytes(speech: Pcm) -> bytes:
    """(S,) as a WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(REALTIME_RATE)
        file.writeframes(speech.astype("<i2").tobytes())
    return buffer.getvalue()
