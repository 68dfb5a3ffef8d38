"""The real server with the tiny bundle in a thread of this process, and a Chromium that visits its page."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

from chatbot.engine.engine import Engine
from chatbot.server.app import create_app
from chatbot.server.options import ServerOptions
from corpus.audio.files import write_audio
from evaluation.served_chat.browser import browser, executable, open_page

from ..conftest import HANG_SECONDS  # noqa: TID252

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Event = dict[str, Any]
RATE = 24000
PATIENCE = int(1000 * HANG_SECONDS)  # milliseconds: a test that hangs fails
KEY = "a-key-for-tests"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if executable() is None:
        here = Path(__file__).parent
        for item in items:
            if here in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="no Chromium on the PATH (apt-get install chromium)"))


class Running(NamedTuple):
    """A server that runs in a thread of its own."""

    url: str
    engine: Engine


@contextmanager
def serve(bundle: Path, options: ServerOptions) -> Iterator[Running]:
    """A running server."""
    import uvicorn

    engine = Engine.from_pretrained(bundle)
    app = create_app(engine, options)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(f"http://127.0.0.1:{port}/", engine)
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="session")
def server(chain: Path) -> Iterator[Running]:
    with serve(chain / "bundle", ServerOptions(grace_seconds=0.5)) as running:
        yield running


@pytest.fixture(scope="session")
def url(server: Running) -> str:
    return server.url


@pytest.fixture(scope="session")
def locked_url(chain: Path) -> Iterator[str]:
    """Of a server that wants a key."""
    with serve(chain / "bundle", ServerOptions(grace_seconds=0.5, api_keys=[KEY])) as running:
        yield running.url


@pytest.fixture(scope="session")
def utterance() -> np.ndarray:
    """1.6 seconds of tones that change every tenth of a second, none of them above 3 kHz, (S,) at `RATE`."""
    rng = np.random.default_rng(7)
    pitch = np.repeat(rng.uniform(200, 3000, 16), RATE // 10)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)).astype(np.float32)


@pytest.fixture(scope="session")
def microphone(utterance: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears: silence while a busy machine makes the page listen, the utterance, silence."""
    file = tmp_path_factory.mktemp("microphone") / "speech.wav"
    before, after = np.zeros(2 * RATE, np.float32), np.zeros(RATE // 2, np.float32)
    write_audio(file, np.concatenate([before, utterance, after]), RATE)
    return file


@pytest.fixture(scope="module")
def chromium(microphone: Path) -> Iterator[Browser]:
    with browser(microphone=microphone) as running:
        yield running


class Visit:
    """A page, with all that went over its WebSocket and all that it complained about."""

    def __init__(self, chromium: Browser, url: str, script: str = "", **context: Any) -> None:
        self.sent: list[Event] = []
        self.received: list[Event] = []
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = open_page(chromium, "about:blank", reduced_motion="reduce", **context)
        self.page.set_default_timeout(PATIENCE)
        self.page.on("websocket", self._watch)
        self.page.on("console", lambda message: message.type == "error" and self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        if script:
            self.page.add_init_script(script)
        self.page.goto(url)

    def _watch(self, socket: Any) -> None:
        self.requests.append(socket.url)
        socket.on("framesent", lambda text: self.sent.append(json.loads(text)))
        socket.on("framereceived", lambda text: self.received.append(json.loads(text)))

    def wait(self, selector: str, state: str = "attached") -> None:
        """Until the page has such an element (the page's policy forbids conditions in JavaScript)."""
        self.page.locator(selector).first.wait_for(state=state)  # type: ignore[arg-type]

    def until(self, holds: Callable[[], object]) -> None:
        """Until something holds of what went over the wire."""
        for _ in range(PATIENCE // 20):
            if holds():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never came; last events {[event['type'] for event in self.received[-5:]]}")

    def ready(self) -> Visit:
        self.wait("#connection[data-state=ready]")
        return self

    def phase(self, *names: str) -> None:
        self.wait(", ".join(f"body[data-phase={name}]" for name in names))

    def is_sent(self, kind: str) -> list[Event]:
        return [event for event in self.sent if event["type"] == kind]

    def is_received(self, kind: str) -> list[Event]:
        return [event for event in self.received if event["type"] == kind]

    def sound(self, events: list[Event], field: str) -> np.ndarray:
        """The samples of all ``events``, (S,) int16."""
        return np.frombuffer(b"".join(base64.b64decode(event[field]) for event in events), dtype="<i2")

    def turns(self) -> list[tuple[str, str, str]]:
        """Who said what, and how it ended."""
        script = """() => [...document.querySelectorAll(".turn")].map((turn) =>
            [turn.classList[1], turn.querySelector(".said").textContent, turn.dataset.state])"""
        return [(who, said, state) for who, said, state in self.page.evaluate(script)]


@pytest.fixture
def visit(chromium: Browser, url: str) -> Iterator[Callable[..., Visit]]:
    """Makes visits, and ends them."""
    visits: list[Visit] = []

    def make(address: str = url, **context: Any) -> Visit:
        visits.append(Visit(chromium, address, **context))
        return visits[-1]

    yield make
    for made in visits:
        made.page.context.close()
