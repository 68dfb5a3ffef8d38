"""Client of ``/v1/realtime`` (the OpenAI Realtime protocol) on asyncio, with a microphone at the pace of speech.

It sends a question in pieces of 20 to 100 ms, as a microphone gives it, and records the arrival of each piece of the
reply. With ``turn="commit"`` the client ends the question (push to talk); with ``turn="server_vad"`` the microphone
stays open and the server detects the end.

    async with RealtimeClient("ws://127.0.0.1:8000", TalkOptions(turn="server_vad")) as client:
        exchange = await client.ask("q1", samples)
        exchange.first_audio_seconds, exchange.said, exchange.playback.gaps

Times are of `time.monotonic`. S samples, all at 24 kHz, mono, int16.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import websockets

from runtime.config import Options, option

from .config import TURNS
from .exchange import REALTIME_RATE, Exchange, Pcm, leading_silence, trailing_silence
from .playback import Arrival

MAX_EVENT_BYTES = 64 << 20
TRANSCRIPTION = "session.audio.input.transcription"


@dataclass(frozen=True, kw_only=True)
class ClientOptions(Options):
    """Options of a client.

    Attributes:
        turn: end of a question: "commit" (by the client) or "server_vad" (by the server).
        chunk_ms: length of the pieces in which speech is sent.
        silence_ms: with server_vad, the silence that ends a turn.
        key: the server's API key.
        voice: of the reply; None is the server's own.
        timeout: seconds to wait for the server's next event.
    """

    turn: str = option("commit", one_of=TURNS)
    chunk_ms: int = option(40, at_least=20, at_most=100)
    silence_ms: int = option(500, above=0)
    key: str | None = None
    voice: str | None = None
    timeout: float = option(60.0, above=0)


class RealtimeClientError(RuntimeError):
    """An error event, an invalid message, a timeout or a closed connection."""


class RealtimeClient:
    """One dialogue over one connection.

    Args:
        url: of the server, ``http://`` or ``ws://`` with host and port.
        options: end of turns, pieces, key, voice, timeout.
    """

    def __init__(self, url: str, options: ClientOptions | None = None) -> None:
        self.options = options or ClientOptions()
        base = url.rstrip("/").removesuffix("/v1/realtime").removesuffix("/v1")
        self.url = base.replace("http", "ws", 1) + "/v1/realtime"
        self._tasks: list[asyncio.Task[None]] = []
        self._microphone: asyncio.Task[None] | None = None
        self._speaking: list[Pcm] = []  # the pieces that the open microphone sends next
        self._silent = asyncio.Event()
        self._events: asyncio.Queue[dict[str, Any] | RealtimeClientError] = asyncio.Queue()

    async def __aenter__(self) -> RealtimeClient:
        """Connect and configure the session."""
        key = self.options.key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.socket = await websockets.connect(
            self.url, additional_headers=headers, max_size=MAX_EVENT_BYTES, open_timeout=self.options.timeout
        )
        self._tasks.append(asyncio.create_task(self._listen()))
        try:
            created = await self.expect("session.created")
            await self._configure(self._session(created))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.socket.close()

    async def _configure(self, session: dict[str, Any]) -> None:
        """Set the session up, without transcripts of the questions where the server says that it has none.

        Raises:
            RealtimeClientError: the server refuses anything else.
        """
        listening = session["audio"]["input"]
        while True:
            await self.send({"type": "session.update", "session": session})
            answer = await self.receive()
            if answer["type"] == "session.updated":
                return
            if answer["type"] == "error":
                if answer["error"].get("param") != TRANSCRIPTION or listening["transcription"] is None:
                    raise RealtimeClientError(str(answer["error"].get("message")))
                listening["transcription"] = None

    def _session(self, created: dict[str, Any]) -> dict[str, Any]:
        is_open = self.options.turn == "server_vad"
        detection = {"type": "server_vad", "silence_duration_ms": self.options.silence_ms} if is_open else None
        pcm = {"type": "audio/pcm", "rate": REALTIME_RATE}
        heard_by = {"model": created["session"].get("model") or "speechweave"}
        listening = {"format": pcm, "turn_detection": detection, "transcription": heard_by}
        speaking = {"format": pcm} | ({"voice": self.options.voice} if self.options.voice else {})
        return {
            "type": "realtime",
            "output_modalities": ["audio"],
            "audio": {"input": listening, "output": speaking},
        }

    async def send(self, event: dict[str, Any]) -> None:
        """Send one event.

        Raises:
            RealtimeClientError: closed connection.
        """
        try:
            await self.socket.send(json.dumps(event))
        except websockets.ConnectionClosed as error:
            raise RealtimeClientError(f"the server closed the line ({error})") from error

    async def _listen(self) -> None:
        """Receive events as they arrive, so that each gets its own time, and put them into the queue."""
        try:
            async for message in self.socket:
                self._events.put_nowait(json.loads(message) | {"at": time.monotonic()})
            self._events.put_nowait(RealtimeClientError("the server closed the line"))
        except websockets.ConnectionClosed as error:
            self._events.put_nowait(RealtimeClientError(f"the server closed the line ({error})"))
        except ValueError as error:
            self._events.put_nowait(RealtimeClientError(f"the server sent no JSON ({error})"))

    async def receive(self) -> dict[str, Any]:
        """The next event, with the time of its arrival as ``at``.

        Raises:
            RealtimeClientError: timeout, or closed connection.
        """
        try:
            event = await asyncio.wait_for(self._events.get(), self.options.timeout)
        except TimeoutError as error:
            raise RealtimeClientError(f"no event within {self.options.timeout:g} s") from error
        if isinstance(event, RealtimeClientError):
            self._events.put_nowait(event)  # the next call raises it again
            raise event
        return event

    async def expect(self, kind: str) -> dict[str, Any]:
        """Wait for an event of a kind and return it.

        Raises:
            RealtimeClientError: the server answers with an error.
        """
        while True:
            event = await self.receive()
            if event["type"] == "error":
                raise RealtimeClientError(str(event["error"].get("message")))
            if event["type"] == kind:
                return event

    async def ask(self, name: str, question: Pcm, *, interrupt_after: float | None = None) -> Exchange:
        """Send a question, receive the reply to its end, and wait for the end of its playback.

        Args:
            name: of the question.
            question: (S,) its speech.
            interrupt_after: seconds of the reply's playback after which the client interrupts it: by the question
                spoken again (server_vad) or by ``response.cancel`` (commit).

        Returns:
            The exchange; a refusal or a broken connection is its ``status`` "error" with a ``reason``.
        """
        exchange = Exchange(id=name)
        try:
            exchange.speech_ended = await self.start(question)
            exchange.committed = exchange.speech_ended if self.options.turn == "commit" else None
            await self._receive_reply(exchange, question, interrupt_after)
        except RealtimeClientError as error:
            exchange.status, exchange.reason = "error", str(error)
        if exchange.playback is not None and exchange.silenced is None and exchange.status != "error":
            await asyncio.sleep(max(0.0, exchange.playback.ended - time.monotonic()))
        return exchange

    async def start(self, question: Pcm) -> float:
        """Send a question, and (commit) ask for the reply; returns the time after its last audible sample.

        Raises:
            RealtimeClientError: closed connection.
        """
        if self.options.turn == "commit":
            await self._send_paced(question)
            ended = time.monotonic()
            await self.send({"type": "input_audio_buffer.commit"})
            await self.send({"type": "response.create"})
            return ended
        if self._microphone is None:
            self._microphone = asyncio.create_task(self._keep_microphone_open())
            self._tasks.append(self._microphone)
        await self._say(question)
        return time.monotonic() - trailing_silence(question) / REALTIME_RATE

    async def _say(self, speech: Pcm) -> None:
        """Put speech into the open microphone; returns when the last sample is sent."""
        assert self._microphone is not None
        self._speaking += self._chunks(speech)
        self._silent.clear()
        spoken = asyncio.create_task(self._silent.wait())
        try:
            await asyncio.wait([spoken, self._microphone], return_when=asyncio.FIRST_COMPLETED)
            if not spoken.done():
                raise RealtimeClientError("the line broke while speaking")
        finally:
            spoken.cancel()

    def _chunks(self, speech: Pcm) -> list[Pcm]:
        length = REALTIME_RATE * self.options.chunk_ms // 1000
        return [speech[start : start + length] for start in range(0, len(speech), length)]

    async def _send_paced(self, speech: Pcm) -> None:
        """Send speech at its own pace: each piece at the time of its last sample."""
        due = time.monotonic()
        for chunk in self._chunks(speech):
            due += len(chunk) / REALTIME_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._append(chunk)

    async def _keep_microphone_open(self) -> None:
        silence = np.zeros(REALTIME_RATE * self.options.chunk_ms // 1000, np.int16)
        due = time.monotonic()
        while True:
            chunk = self._speaking[0] if self._speaking else silence
            due += len(chunk) / REALTIME_RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._append(chunk)
            if chunk is not silence:
                del self._speaking[0]
                if not self._speaking:
                    self._silent.set()

    async def _append(self, chunk: Pcm) -> None:
        data = base64.b64encode(chunk.astype("<i2").tobytes()).decode()
        await self.send({"type": "input_audio_buffer.append", "audio": data})

    async def _receive_reply(self, exchange: Exchange, question: Pcm, interrupt_after: float | None) -> None:
        """Process events until the reply has ended, or was interrupted and silenced."""
        interrupting: asyncio.Task[None] | None = None
        is_over = False
        try:
            while not is_over:
                self._record(exchange, await self.receive())
                if interrupt_after is not None and interrupting is None and exchange.arrivals:
                    interrupting = asyncio.create_task(self._interrupt(exchange, question, interrupt_after))
                is_over = exchange.ended is not None and (interrupting is None or exchange.silenced is not None)
        finally:
            if interrupting is not None:
                interrupting.cancel()
                await asyncio.gather(interrupting, return_exceptions=True)

    async def _interrupt(self, exchange: Exchange, speech: Pcm, after: float) -> None:
        await asyncio.sleep(max(0.0, exchange.arrivals[0].at + after - time.monotonic()))
        exchange.interrupted = time.monotonic()
        if self.options.turn == "commit":
            exchange.silenced = exchange.interrupted  # the client stops its own player
            await self.send({"type": "response.cancel"})
        else:
            await self._say(speech[leading_silence(speech) :])

    def _record(self, exchange: Exchange, event: dict[str, Any]) -> None:
        """Write an event into the exchange."""
        kind = event["type"]
        if kind == "response.output_audio.delta":
            piece = np.frombuffer(base64.b64decode(event["delta"]), "<i2")
            exchange.pieces.append(piece)
            exchange.arrivals.append(Arrival(event["at"], len(piece)))
        elif kind == "response.output_audio_transcript.delta":
            exchange.said += event["delta"]
            if exchange.first_text is None and event["delta"]:
                exchange.first_text = event["at"]
        elif kind == "conversation.item.input_audio_transcription.completed":
            exchange.heard = event["transcript"]
        elif kind == "input_audio_buffer.committed" and exchange.committed is None:
            exchange.committed = event["at"]
        elif (
            kind == "input_audio_buffer.speech_started"
            and exchange.interrupted is not None
            and exchange.silenced is None
        ):
            exchange.silenced = event["at"]
        elif kind == "response.done":
            response = event["response"]
            exchange.status = str(response["status"])
            exchange.reason = reason_of(response.get("status_details"))
            if exchange.status == "cancelled" and exchange.interrupted is None:
                exchange.early += 1  # the question went on: its reply still follows
                exchange.said, exchange.pieces, exchange.arrivals, exchange.committed = "", [], [], None
                exchange.first_text = None
                return
            exchange.ended = event["at"]
        elif kind == "error" and exchange.interrupted is None:  # a finished reply cannot be cancelled
            raise RealtimeClientError(str(event["error"].get("message")))


def reason_of(details: dict[str, Any] | None) -> str:
    """The reason of a response's end, in words."""
    error = (details or {}).get("error") or {}
    return str(error.get("message") or error.get("code") or (details or {}).get("reason") or "")
