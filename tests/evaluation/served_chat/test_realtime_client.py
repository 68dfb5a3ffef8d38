from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
import websockets

from evaluation.served_chat.exchange import (
    REALTIME_RATE,
    Exchange,
    Pcm,
)
from evaluation.served_chat.load_generator import SpokenQuestion, closed_loop, open_loop
from evaluation.served_chat.realtime_client import ClientOptions, RealtimeClient
from runtime.errors import UserError

TONE = (8000 * np.sin(np.arange(REALTIME_RATE // 5) / 20)).astype(np.int16)  # 0.2 s
PIECE = np.arange(480, dtype=np.int16)


class Script:
    """A server that plays its part of the Realtime protocol by heart, and keeps what it was sent."""

    def __init__(self, *, speech_seconds: float = 0.0, broken: str = "", early: bool = False) -> None:
        self.speech_seconds, self.broken, self.early = speech_seconds, broken, early
        self.received: list[Pcm] = []
        self.kinds: list[str] = []
        self.sessions: list[dict[str, Any]] = []

    async def __call__(self, socket: Any) -> None:
        async def say(kind: str, **values: Any) -> None:
            await socket.send(json.dumps({"type": kind, "event_id": "e", **values}))

        cancelled = asyncio.Event()
        replying: list[asyncio.Task[None]] = []

        async def reply(is_cut: bool = False) -> None:
            await say("conversation.item.input_audio_transcription.completed", transcript="a question")
            for word in ("an ", "answer"):
                await say("response.output_audio_transcript.delta", delta=word)
            for _ in range(3 if not is_cut else 1):
                data = base64.b64encode(PIECE.astype("<i2").tobytes()).decode()
                await say("response.output_audio.delta", delta=data)
            if self.speech_seconds:
                await cancelled.wait()
            status = "cancelled" if is_cut or cancelled.is_set() else "completed"
            await say("response.done", response={"status": status, "status_details": None})

        await say("session.created", session={"model": "script"})
        num_heard, has_answered = 0, False
        async for message in socket:
            event = json.loads(message)
            self.kinds.append(event["type"])
            if event["type"] == "session.update":
                self.sessions.append(event["session"])
                await say("session.updated", session={})
            elif event["type"] == "input_audio_buffer.append":
                self.received.append(np.frombuffer(base64.b64decode(event["audio"]), "<i2"))
                num_heard += int((self.received[-1] != 0).any())
                if self.broken == "hang up" and num_heard > 1:
                    return
                is_silent = not self.received[-1].any()
                if self.sessions[-1]["audio"]["input"]["turn_detection"] and num_heard and is_silent:
                    num_heard = 0
                    if cancelled.is_set() or has_answered:
                        continue
                    has_answered = True
                    await say("input_audio_buffer.committed", item_id="i")
                    if self.early:
                        await reply(is_cut=True)
                    replying.append(asyncio.create_task(reply()))
                elif num_heard and replying and self.speech_seconds and not cancelled.is_set():
                    await say("input_audio_buffer.speech_started", audio_start_ms=0, item_id="i")
                    cancelled.set()
            elif event["type"] == "response.create":
                if self.broken == "error":
                    await say("error", error={"message": "too many talkers"})
                else:
                    replying.append(asyncio.create_task(reply()))
            elif event["type"] == "response.cancel":
                cancelled.set()


def with_server(script: Script, act: Callable[[str], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with websockets.serve(script, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.wait_for(act(f"http://127.0.0.1:{port}"), 300)

    return asyncio.run(run())


def ask_once(script: Script, options: ClientOptions, **more: Any) -> Exchange:
    async def act(url: str) -> Exchange:
        async with RealtimeClient(url, options) as client:
            return await client.ask("q", TONE, **more)

    exchange: Exchange = with_server(script, act)
    return exchange


def test_a_question_goes_out_whole_and_the_reply_comes_in_whole() -> None:
    script = Script()
    exchange = ask_once(script, ClientOptions(chunk_ms=20))
    assert (exchange.status, exchange.heard, exchange.said) == ("completed", "a question", "an answer")
    np.testing.assert_array_equal(np.concatenate(script.received), TONE)
    np.testing.assert_array_equal(np.concatenate(exchange.pieces), np.tile(PIECE, 3))
    assert script.kinds[-2:] == ["input_audio_buffer.commit", "response.create"]
    assert script.sessions[0]["audio"]["input"]["turn_detection"] is None
    assert exchange.seconds == pytest.approx(0.06)
    assert exchange.first_audio_seconds is not None
    assert 0 <= exchange.first_audio_seconds <= exchange.ended - exchange.speech_ended  # type: ignore[operator]
    assert np.abs(exchange.audio).max() == pytest.approx(479 / 32768)


def test_with_an_open_microphone_silence_follows_and_an_early_reply_is_not_the_answer() -> None:
    script = Script(early=True)
    exchange = ask_once(script, ClientOptions(turn="server_vad", chunk_ms=20))
    sent = np.concatenate(script.received)
    np.testing.assert_array_equal(sent[: len(TONE)], TONE)
    assert not sent[len(TONE) :].any()
    assert "input_audio_buffer.commit" not in script.kinds
    assert (exchange.status, exchange.early, exchange.said, exchange.seconds) == (
        "completed",
        1,
        "an answer",
        pytest.approx(0.06),
    )


@pytest.mark.parametrize("turn", ["commit", "server_vad"])
def test_an_interrupted_reply_ends_and_the_time_of_silence_is_noted(turn: str) -> None:
    script = Script(speech_seconds=1.0)
    exchange = ask_once(script, ClientOptions(turn=turn, chunk_ms=20), interrupt_after=0.02)
    assert exchange.status == "cancelled"
    assert exchange.interrupted is not None
    assert exchange.silenced is not None
    assert exchange.interrupted <= exchange.silenced
    assert ("response.cancel" in script.kinds) == (turn == "commit")


@pytest.mark.parametrize(("broken", "words"), [("error", "too many talkers"), ("hang up", "closed the line")])
def test_a_refusal_and_a_broken_connection_are_the_status(broken: str, words: str) -> None:
    exchange = ask_once(Script(broken=broken), ClientOptions(chunk_ms=20))
    assert exchange.status == "error"
    assert words in exchange.reason


def test_a_crowd_asks_every_question_once() -> None:
    script = Script()
    questions = [SpokenQuestion(f"q{number}", TONE[: 480 * (1 + number % 2)]) for number in range(7)]
    done: list[str] = []

    async def act(url: str) -> list[list[Exchange]]:
        options = ClientOptions(chunk_ms=20)
        closed = closed_loop(
            url, questions, options, clients=3, dialogue_turns=2, on_exchange=lambda exchange: done.append(exchange.id)
        )
        opened = open_loop(url, questions, options, rate=50.0)
        nobody = closed_loop("http://127.0.0.1:1", questions[:1], options, clients=2)
        return list(await asyncio.gather(closed, opened, nobody))

    closed, opened, nobody = with_server(script, act)
    for exchanges in (closed, opened):
        assert [exchange.id for exchange in exchanges] == [question.id for question in questions]
        assert {exchange.status for exchange in exchanges} == {"completed"}
    assert sorted(done) == [question.id for question in questions]
    assert len(script.sessions) == 4 + 7  # four dialogues of at most two questions, and seven of one
    assert nobody[0].status == "error"


def test_options_are_checked() -> None:
    for wrong in ({"turn": "guess"}, {"chunk_ms": 5}, {"silence_ms": 0}, {"timeout": 0.0}):
        with pytest.raises(UserError):
            ClientOptions(**wrong)  # type: ignore[arg-type]
