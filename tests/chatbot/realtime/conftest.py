"""A Realtime session without a socket, and a whole server on loopback, both over tiny models."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import numpy as np
import pytest
import uvicorn

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.options import EngineOptions
from chatbot.engine.pcm import decode_base64, encode_pcm16
from chatbot.realtime import connection
from chatbot.realtime.options import RealtimeOptions
from chatbot.realtime.outbox import Outbox
from chatbot.realtime.routes import RealtimeRouter, make_router
from chatbot.realtime.session import RealtimeSession
from chatbot.realtime.transport import CutOffSocket
from chatbot.server.app import create_app
from tests.support.realtime_events import CheckedOutbox

from ..conftest import HANG_SECONDS  # noqa: TID252

Event = dict[str, Any]
PATIENCE = HANG_SECONDS  # a test that hangs fails


def sound(seconds: float, *, loud: bool = True, rate: int = 24000) -> bytes:
    """PCM: noise of syllables' rhythm, or silence."""
    count = int(seconds * rate)
    noise = np.random.default_rng(count).standard_normal(count) * 0.1 if loud else np.zeros(count)
    return encode_pcm16(noise.astype(np.float32))


def append(data: bytes) -> Event:
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(data).decode()}


COMMIT, REPLY, CANCEL = {"type": "input_audio_buffer.commit"}, {"type": "response.create"}, {"type": "response.cancel"}


WHOLE = ("completed", "incomplete")  # a model of random weights seldom ends by itself


HEARD = "conversation.item.input_audio_transcription"


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(limited())


def kinds(events: list[Event]) -> list[str]:
    """Types of events, without the pieces of replies."""
    return [event["type"] for event in events if not event["type"].endswith(".delta")]


def written(text: str, role: str = "user", **fields: Any) -> Event:
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    item = {"type": "message", "role": role, "content": [part]}
    return {"type": "conversation.item.create", "item": item | fields}


def speech(events: list[Event]) -> bytes:
    return b"".join(decode_base64(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")


class Room:
    """A session whose client is the test."""

    def __init__(self, engine: Engine, session: RealtimeSession, outbox: Outbox) -> None:
        self.engine, self.session, self.outbox = engine, session, outbox
        self.events: list[Event] = []

    async def say(self, *events: Event | str | bytes) -> None:
        for event in events:
            await self.session.receive(json.dumps(event) if isinstance(event, dict) else event)

    async def hear(self) -> Event:
        event = await asyncio.wait_for(self.outbox.get(), PATIENCE)
        self.events.append(event)
        return event

    async def until(self, kind: str) -> list[Event]:
        """Events up to the first of a kind; an error that nobody asked for fails the test."""
        heard: list[Event] = []
        while not heard or heard[-1]["type"] != kind:
            heard.append(await self.hear())
            assert kind == "error" or heard[-1]["type"] != "error", heard[-1]
        return heard

    async def ask(self, seconds: float = 0.6) -> list[Event]:
        """A spoken question, and all that comes of it."""
        await self.say(append(sound(seconds)), {"type": "input_audio_buffer.commit"}, {"type": "response.create"})
        return await self.until("response.done")

    async def set(self, **session: Any) -> Event:
        await self.say({"type": "session.update", "session": {"type": "realtime"} | session})
        return (await self.until("session.updated"))[-1]["session"]


async def error(room: Room) -> Event:
    return (await room.until("error"))[-1]["error"]


Opener = Callable[..., AbstractAsyncContextManager[Room]]


@pytest.fixture(scope="session")
def bundle(chain: Path) -> Bundle:
    return Bundle.from_pretrained(chain / "bundle")


@pytest.fixture
def room(bundle: Bundle) -> Opener:
    """Opens a session that waits for its first event; its events are checked by the SDK's types."""

    @asynccontextmanager
    async def opened(*, is_manual: bool = True, **options: Any) -> AsyncIterator[Room]:
        engine = Engine(bundle, EngineOptions(max_talkers=2))
        limits = RealtimeOptions(**options)
        outbox = CheckedOutbox(limits.outbox_events)
        session = RealtimeSession(engine, limits, outbox)
        work = asyncio.create_task(session.work())
        try:
            room = Room(engine, session, outbox)
            await session.greet()
            await room.until("session.created")
            if is_manual:
                await room.set(audio={"input": {"turn_detection": None}})
            yield room
        finally:
            session.close()
            work.cancel()
            await engine.close(0)
        assert engine.load().talkers == 0

    return opened


class Server:
    """A server in a thread of its own."""

    def __init__(self, bundle: Bundle, **options: Any) -> None:
        connection.Outbox = CheckedOutbox  # type: ignore[misc]  # for all connections of the tests' process
        self.router: RealtimeRouter
        self.engine: Engine
        self.loop: asyncio.AbstractEventLoop
        self.port = 0
        self._server: uvicorn.Server
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(bundle, options),))
        self._thread.start()
        assert self._is_ready.wait(PATIENCE)

    async def _serve(self, bundle: Bundle, options: dict[str, Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.engine = Engine(bundle, EngineOptions(max_talkers=2))
        ping = options.pop("ping_seconds", PATIENCE)
        lingering = type("Lingering", (CutOffSocket,), {"linger_seconds": options.pop("linger_seconds", PATIENCE)})
        if options.pop("is_whole", False):  # with all the other routes
            app = create_app(self.engine)
        else:
            self.router = make_router(self.engine, RealtimeOptions(**options))
            app = fastapi.FastAPI()
            app.include_router(self.router)
        self._server = uvicorn.Server(
            uvicorn.Config(app, port=0, log_level="error", ws=lingering, ws_ping_interval=ping, ws_ping_timeout=ping)
        )
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self._is_ready.set()
        await serving
        await self.engine.close(0)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/realtime?model=any"

    def talkers(self) -> int:
        """How many dialogues are open."""
        return asyncio.run_coroutine_threadsafe(self._load(), self.loop).result(PATIENCE)

    async def _load(self) -> int:
        return self.engine.load().talkers

    @property
    def sockets(self) -> int:
        """How many connections are open, below the application."""
        return len(self._server.server_state.connections)

    def close_connections(self) -> None:
        asyncio.run_coroutine_threadsafe(self.router.connections.close(), self.loop).result(PATIENCE)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def start_server(bundle: Bundle) -> Iterator[Callable[..., Server]]:
    """Starts servers that are stopped at the end."""
    servers: list[Server] = []

    def start(**options: Any) -> Server:
        servers.append(Server(bundle, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()
