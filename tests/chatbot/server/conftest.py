"""A real server of the tiny bundle on a free port, once for all tests; and apps of it behind other gates."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import openai
import pytest
import soundfile
from fastapi import FastAPI

from chatbot.engine.engine import Engine
from chatbot.engine.options import EngineOptions
from chatbot.server.app import create_app
from chatbot.server.listener import GracefulServer, open_socket
from chatbot.server.options import ServerOptions
from corpus.audio.files import Samples

from ..conftest import HANG_SECONDS  # noqa: TID252

KEY = "a-key-for-tests"


class Live(NamedTuple):
    """A server that listens in a thread of its own."""

    url: str
    engine: Engine
    app: FastAPI
    options: ServerOptions
    loop: asyncio.AbstractEventLoop

    def client(self, key: str = KEY) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=HANG_SECONDS)

    def call(self, function: Any) -> Any:
        """What ``function`` returns, called on the server's loop."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self.loop).result(HANG_SECONDS)


@pytest.fixture(scope="session")
def live(chain: Path) -> Iterator[Live]:
    with live_server(chain / "bundle") as live:
        yield live


@pytest.fixture(scope="session")
def hearing_live(hearing_chain: Path) -> Iterator[Live]:
    """A server whose model hears vectors."""
    with live_server(hearing_chain / "streamed" / "bundle", max_talkers=4) as live:
        yield live


@contextmanager
def live_server(bundle: Path, max_talkers: int = 3) -> Iterator[Live]:
    limits = {"max_audio_seconds": 20, "max_text_characters": 400}
    patience = dict.fromkeys(("header_seconds", "body_seconds", "request_seconds"), HANG_SECONDS)
    options = ServerOptions(port=0, api_keys=[KEY, "another-key"], **limits, **patience)  # type: ignore[arg-type]
    made: dict[str, Any] = {}

    async def run() -> None:
        engine = Engine.from_pretrained(bundle, EngineOptions(max_talkers=max_talkers))
        with open_socket(options) as socket:
            app = create_app(engine, options)
            listener = GracefulServer(app, options)
            made.update(engine=engine, app=app, listener=listener, loop=asyncio.get_running_loop())
            listener.on_start = lambda url: made.update(url=url)
            await listener.serve([socket])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    until(lambda: "url" in made or not thread.is_alive())
    assert "url" in made, "the server does not start"
    yield Live(made["url"], made["engine"], made["app"], options, made["loop"])
    made["loop"].call_soon_threadsafe(made["listener"].end)
    thread.join(HANG_SECONDS)
    assert not thread.is_alive(), "the server does not end"


@pytest.fixture
def client(live: Live) -> openai.OpenAI:
    return live.client()


def gated(live: Live, **options: Any) -> httpx.AsyncClient:
    """A client of an app over the live engine, behind a gate of its own; the engine's models are not asked."""
    app = create_app(live.engine, ServerOptions(**options))
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


def sound_file(samples: Samples, sample_rate: int = 16_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=kind, subtype=subtype)
    return file.getvalue()


def spoken(samples: Samples, sample_rate: int = 16_000, kind: str = "WAV") -> dict[str, Any]:
    """A spoken message."""
    data = base64.b64encode(sound_file(samples, sample_rate, kind)).decode()
    part = {"type": "input_audio", "input_audio": {"data": data, "format": kind.lower()}}
    return {"role": "user", "content": [part]}


def read_sound(data: bytes) -> tuple[np.ndarray[Any, Any], int]:
    return soundfile.read(io.BytesIO(data), dtype="float32")


def until(holds: Callable[[], bool]) -> None:
    """Wait until ``holds``."""
    deadline = time.monotonic() + HANG_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never holds"
        time.sleep(0.02)
