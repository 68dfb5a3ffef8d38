"""A person who talks to a served chatbot: an asyncio client of ``/v1/realtime`` (the OpenAI Realtime protocol).

It speaks a question at the pace of speech, 20 to 100 ms at a time, as a microphone gives it, and notes when each piece
of the reply comes. With ``turn="commit"`` it says itself that the question is over (a button that is let go); with
``turn="server_vad"`` the microphone stays open and the server must hear it.

    async with RealtimeClient("ws://127.0.0.1:8000", TalkOptions(turn="server_vad")) as talker:
        talk = await talker.ask("q1", samples)
        talk.first_audio_seconds, talk.said, talk.playback.gaps

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

from runtime.errors import check_option

from .playback import Arrival
from .talk import REALTIME_RATE, Pcm, Talk, leading_silence, trailing_silence

TURNS = ("commit", "server_vad")
MAX_EVENT_BYTES = 64 << 20


@dataclass(frozen=True, kw_only=True)
class TalkOptions:
    """How a talker talks.

    Attributes:
        turn: who says that the question is over: "commit" (the talker) or "server_vad" (the server).
        chunk_ms: length of a piece of speech sent at once.
        silence_ms: with server_vad, the silence that ends a turn.
        key: the server's API key.
        voice: of the reply; None is the server's own.
        timeout: seconds to wait for the server's next word.
    """

    turn: str = "commit"
    chunk_ms: int = 40
    silence_ms: int = 500
    key: str | None = None
    voice: str | None = None
    timeout: float = 60.0

    def __post_init__(self) -> None:
        check_option(self.turn in TURNS, "turn", self.turn, f"choose one of {', '.join(TURNS)}")
        check_option(20 <= self.chunk_ms <= 100, "chunk_ms", self.chunk_ms, "give 20 to 100")
        check_option(self.silence_ms > 0, "silence_ms", self.silence_ms, "give more than 0")
        check_option(self.timeout > 0, "timeout", self.timeout, "give more than 0")


class RealtimeClientError(RuntimeError):
    """The server said something that this client cannot go on from, or nothing at all."""


class RealtimeClient:
    """One dialogue.

    Args:
        url: of the server, ``http://`` or ``ws://`` with host and port.
        options: how to talk.
    """

    def __init__(self, url: str, options: TalkOptions | None = None) -> None:
        self.options = options or TalkOptions()
        base = url.rstrip("/").removesuffix("/v1/realtime").removesuffix("/v1")
        self.url = base.replace("http", "ws", 1) + "/v1/realtime"
        self._tasks: list[asyncio.Task[None]] = []
        self._microphone: asyncio.Task[None] | None = None
        self._speaking: list[Pcm] = []  # what the open microphone picks up next
        self._silent = asyncio.Event()
        self._events: asyncio.Queue[dict[str, Any] | RealtimeClientError] = asyncio.Queue()

    async def __aenter__(self) -> RealtimeClient:
        """Connect and settle how the dialogue goes."""
        import websockets

        key = self.options.key
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.socket = await websockets.connect(
            self.url, additional_headers=headers, max_size=MAX_EVENT_BYTES, open_timeout=self.options.timeout
        )
        self._tasks.append(asyncio.create_task(self._listen()))
        try:
            created = await self.expect("session.created")
            await self.send({"type": "session.update", "session": self._session(created)})
            await self.expect("session.updated")
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.socket.close()

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
            TalkerError: the line is closed.
        """
        import websockets

        try:
            await self.socket.send(json.dumps(event))
        except websockets.ConnectionClosed as error:
            raise RealtimeClientError(f"the server closed the line ({error})") from error

    async def _listen(self) -> None:
        """Take events in as they come, whatever the talker is doing, so that each bears the right time."""
        import websockets

        try:
            async for message in self.socket:
                self._events.put_nowait(json.loads(message) | {"at": time.monotonic()})
            self._events.put_nowait(RealtimeClientError("the server closed the line"))
        except websockets.ConnectionClosed as error:
            self._events.put_nowait(RealtimeClientError(f"the server closed the line ({error})"))
        except ValueError as error:
            self._events.put_nowait(RealtimeClientError(f"the server sent no JSON ({error})"))

    async def receive(self) -> dict[str, Any]:
        """The next event, with ``at``: when it came.

        Raises:
            TalkerError: nothing came in time, or the line is closed.
        """
        try:
            event = await asyncio.wait_for(self._events.get(), self.options.timeout)
        except TimeoutError as error:
            raise RealtimeClientError(f"no event within {self.options.timeout:g} s") from error
        if isinstance(event, RealtimeClientError):
            self._events.put_nowait(event)  # whoever asks again hears it again
            raise event
        return event

    async def expect(self, kind: str) -> dict[str, Any]:
        """Wait for an event of a kind.

        Raises:
            TalkerError: the server answers with an error.
        """
        while True:
            event = await self.receive()
            if event["type"] == "error":
                raise RealtimeClientError(str(event["error"].get("message")))
            if event["type"] == kind:
                return event

    async def ask(self, name: str, question: Pcm, *, interrupt_after: float | None = None) -> Talk:
        """Speak a question, hear the reply to its end, and play it.

        Args:
            name: of the question.
            question: (S,) its speech.
            interrupt_after: seconds of the reply's playback after which the talker falls in, with the question again
                (server_vad) or with the button to stop (commit).

        Returns:
            What happened; a refusal or a broken line is told by its ``status`` and ``reason``.
        """
        talk = Talk(id=name)
        try:
            talk.speech_ended = await self.start(question)
            talk.committed = talk.speech_ended if self.options.turn == "commit" else None
            await self._hear_out(talk, question, interrupt_after)
        except RealtimeClientError as error:
            talk.status, talk.reason = "error", str(error)
        if talk.playback is not None and talk.silenced is None and talk.status != "error":
            await asyncio.sleep(max(0.0, talk.playback.ended - time.monotonic()))
        return talk

    async def start(self, question: Pcm) -> float:
        """Speak a question, and (commit) ask for the reply; when its last audible sample had been spoken.

        Raises:
            TalkerError: the line is closed.
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
        """Speak into the open microphone; returns when the last sample is sent."""
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
        """Send speech as a microphone would: each piece when its last sample has been spoken."""
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

    async def _hear_out(self, talk: Talk, question: Pcm, interrupt_after: float | None) -> None:
        """Take in events until the reply is over, or until it was interrupted and is silent."""
        falling_in: asyncio.Task[None] | None = None
        is_over = False
        try:
            while not is_over:
                self._note(talk, await self.receive())
                if interrupt_after is not None and falling_in is None and talk.arrivals:
                    falling_in = asyncio.create_task(self._interrupt(talk, question, interrupt_after))
                is_over = talk.ended is not None and (falling_in is None or talk.silenced is not None)
        finally:
            if falling_in is not None:
                falling_in.cancel()
                await asyncio.gather(falling_in, return_exceptions=True)

    async def _interrupt(self, talk: Talk, speech: Pcm, after: float) -> None:
        await asyncio.sleep(max(0.0, talk.arrivals[0].at + after - time.monotonic()))
        talk.interrupted = time.monotonic()
        if self.options.turn == "commit":
            talk.silenced = talk.interrupted  # this player stops by itself
            await self.send({"type": "response.cancel"})
        else:
            await self._say(speech[leading_silence(speech) :])

    def _note(self, talk: Talk, event: dict[str, Any]) -> None:
        """Write an event down."""
        kind = event["type"]
        if kind == "response.output_audio.delta":
            piece = np.frombuffer(base64.b64decode(event["delta"]), "<i2")
            talk.pieces.append(piece)
            talk.arrivals.append(Arrival(event["at"], len(piece)))
        elif kind == "response.output_audio_transcript.delta":
            talk.said += event["delta"]
        elif kind == "conversation.item.input_audio_transcription.completed":
            talk.heard = event["transcript"]
        elif kind == "input_audio_buffer.committed" and talk.committed is None:
            talk.committed = event["at"]
        elif kind == "input_audio_buffer.speech_started" and talk.interrupted is not None and talk.silenced is None:
            talk.silenced = event["at"]
        elif kind == "response.done":
            response = event["response"]
            talk.status = str(response["status"])
            talk.reason = reason_of(response.get("status_details"))
            if talk.status == "cancelled" and talk.interrupted is None:
                talk.early += 1  # the question went on: its reply is still to come
                talk.said, talk.pieces, talk.arrivals, talk.committed = "", [], [], None
                return
            talk.ended = event["at"]
        elif kind == "error" and talk.interrupted is None:  # a reply that was over cannot be cancelled any more
            raise RealtimeClientError(str(event["error"].get("message")))


def reason_of(details: dict[str, Any] | None) -> str:
    """Why a response ended as it did, in words."""
    error = (details or {}).get("error") or {}
    return str(error.get("message") or error.get("code") or (details or {}).get("reason") or "")
