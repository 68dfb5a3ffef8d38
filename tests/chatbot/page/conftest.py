"""The real server with the tiny bundle in a thread of this process, and a Chromium to visit it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatbot.engine import Engine
from chatbot.server.app import create_app
from chatbot.server.options import ServerOptions
from recipes.browser import executable

if executable() is None:
    collect_ignore_glob = ["test_*.py"]


@dataclass
class Served:
    """A running server."""

    url: str


@contextmanager
def serve(bundle: Path, options: ServerOptions) -> Iterator[Served]:
    import uvicorn

    app = create_app(Engine.from_pretrained(bundle), options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Served(f"http://127.0.0.1:{port}/")
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def served(chain: Path) -> Iterator[Served]:
    with serve(chain / "bundle", ServerOptions(grace_seconds=0.5)) as server:
        yield server
