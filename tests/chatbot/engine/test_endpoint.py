"""The engine with its language model behind HTTP: a server of the dialect of vLLM and SGLang on the built-in model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chatbot.engine.backends import endpoint as remote
from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.events import AudioDelta, ReplyDone, TextDelta
from chatbot.engine.options import EngineOptions
from lm.inference.batching import GenerationRequest
from lm.inference.generation import Generator
from runtime.errors import UserError

from ..conftest import HANG_SECONDS, babble  # noqa: TID252

QUESTION = babble(2, 1.1)
KEY = "secret"
Answer = tuple[str, int, int, int, str]


class Endpoint(ThreadingHTTPServer):
    """What a server of completions does with ids; ``spoil`` changes each event before it is sent.

    While it ``is_held``, the last event of a completion is kept back until its client has left.
    """

    daemon_threads = True

    def __init__(self, generator: Generator, dialect: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.generator, self.dialect = generator, dialect
        self.requests: list[dict[str, Any]] = []
        self.spoil: Callable[[dict[str, Any]], dict[str, Any]] = lambda event: event
        self.is_held, self.has_lost_a_client = False, threading.Event()
        self.one_at_a_time = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.say(200, {"object": "list", "data": [{"id": "chat", "object": "model"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self.say(401, {"error": {"message": "wrong key"}})
            return
        self.server.requests.append(body)
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        try:
            for event in self.events(body):
                if self.server.is_held and any(choice["finish_reason"] for choice in event["choices"]):
                    self.wait_until_left()
                    return
                self.wfile.write(f"data: {json.dumps(self.server.spoil(event))}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.server.has_lost_a_client.set()

    def wait_until_left(self) -> None:
        self.connection.settimeout(2 * HANG_SECONDS)  # the test gives up before
        with contextlib.suppress(ConnectionError):
            assert self.rfile.read(1) == b""
        self.server.has_lost_a_client.set()

    def say(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def tokens(self, prompt: list[int], most: int, stop: list[int], allowed: list[int]) -> Iterator[int]:
        batch = self.server.generator.batch(num_rows=1)
        batch.open(0)
        batch.feed(0, prompt)
        batch.ask(0, GenerationRequest(max_new_tokens=most, stop=tuple(stop), allowed=tuple(allowed)))
        while batch.has_work:
            yield from (new.token for new in batch.step())

    def events(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Of a greedy completion. SGLang knows no allowed_token_ids, and tells the stop id beside the others only."""
        is_vllm = self.server.dialect == "vllm"
        assert body["stream"] and body["return_token_ids"] and body["temperature"] == 0
        assert ("allowed_token_ids" in body) == is_vllm and ("logit_bias" in body) != is_vllm
        stop, most = body["stop_token_ids"], body["max_tokens"]
        allowed = body["allowed_token_ids"] if is_vllm else [int(id) for id in body["logit_bias"]]
        with self.server.one_at_a_time:
            for number, id in enumerate(self.tokens(body["prompt"], most, stop, allowed), 1):
                is_stop = id in stop
                choice: dict[str, Any] = {"index": 0, "text": "", "token_ids": [id], "finish_reason": None}
                if is_stop or number == most:
                    choice["finish_reason"] = "stop" if is_stop else "length"
                    choice |= {"stop_reason" if is_vllm else "matched_stop": id if is_stop else None}
                    if is_stop and not is_vllm:
                        choice["token_ids"] = []
                yield {"id": "cmpl-1", "object": "text_completion", "choices": [choice]}


@pytest.fixture
def endpoint(chain: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    for name in ("CONNECT_SECONDS", "SILENT_SECONDS"):
        monkeypatch.setattr(remote, name, HANG_SECONDS)
    monkeypatch.setenv(remote.KEY_VARIABLE, KEY)
    bundle = Bundle.from_pretrained(chain / "bundle")
    assert isinstance(bundle.generator, Generator)
    server = Endpoint(bundle.generator, getattr(request, "param", "vllm"))
    with contextlib.closing(server.socket):
        yield server
        server.shutdown()


def options(endpoint: Endpoint, **changes: Any) -> EngineOptions:
    return EngineOptions(**{"backend_url": endpoint.url, "backend_dialect": endpoint.dialect, **changes})


def loaded(chain: Path, engine_options: EngineOptions, **changes: object) -> Engine:
    engine = Engine.from_pretrained(chain / "bundle", engine_options)
    for name, value in changes.items():
        setattr(engine.bundle.settings.reply, name, value)
    engine.bundle.reply_format = engine.bundle.settings.reply.reply_format()
    return engine


async def answers(engine: Engine) -> list[Answer]:
    """What two conversations are told at once, each in two turns."""

    async def talk() -> list[Answer]:
        conversation, told = engine.open(), list[Answer]()
        for _ in range(2):
            await conversation.add_audio(QUESTION)
            events = [event async for event in conversation.respond()]
            done, audio = events[-1], sum(len(e.samples) for e in events if isinstance(e, AudioDelta))
            assert isinstance(done, ReplyDone)
            text = "".join(event.text for event in events if isinstance(event, TextDelta))
            assert text == done.text
            told.append((text, audio, done.usage.output_text, done.usage.output_audio, done.status))
        return told

    try:
        first, second = await asyncio.gather(talk(), talk())
    finally:
        await engine.close(grace_seconds=0)
    assert first == second
    return first


@pytest.mark.parametrize("endpoint", ["vllm", "sglang"], indirect=True)
@pytest.mark.parametrize(
    "changes", [{"max_text_tokens": 8}, {"format": "streaming", "text_block": 1, "speech_block": 6}]
)
def test_it_answers_as_the_builtin_model(chain: Path, endpoint: Endpoint, changes: dict[str, object]) -> None:
    limits = {"remembered_turns": 1, "max_reply_seconds": 0.8, **changes}
    here = asyncio.run(answers(loaded(chain, EngineOptions(), **limits)))
    there = asyncio.run(answers(loaded(chain, options(endpoint), **limits)))
    assert there == here
    assert endpoint.requests
    assert all(request["model"] == "chat" for request in endpoint.requests)


def test_cancelling_closes_the_connection(chain: Path, endpoint: Endpoint) -> None:
    endpoint.is_held = True

    async def test() -> None:
        engine = loaded(chain, options(endpoint))
        conversation = engine.open()
        await conversation.add_audio(QUESTION)
        events = conversation.respond()
        await anext(events)
        conversation.cancel()
        rest = [event async for event in events]
        assert isinstance(rest[-1], ReplyDone)
        assert rest[-1].status == "cancelled"
        await engine.close()

    asyncio.run(test())
    assert endpoint.has_lost_a_client.wait(HANG_SECONDS)


def not_allowed(event: dict[str, Any]) -> dict[str, Any]:
    for choice in event["choices"]:
        choice["token_ids"] = [1 << 20]
    return event


def without_ids(event: dict[str, Any]) -> dict[str, Any]:
    for choice in event["choices"]:
        choice.pop("token_ids")
    return event


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (not_allowed, "which was not allowed"),
        (without_ids, "text without the ids of its tokens"),
        (lambda event: {"error": {"message": "out of memory"}}, "out of memory"),
        (lambda event: event | {"choices": []}, "an end after 0 of"),
    ],
)
def test_a_server_that_fails_is_told(
    chain: Path, endpoint: Endpoint, spoil: Callable[[dict[str, Any]], dict[str, Any]], words: str
) -> None:
    endpoint.spoil = spoil

    async def test() -> None:
        engine = loaded(chain, options(endpoint))
        conversation = engine.open()
        for _ in range(2):  # it is told each time, and the conversation lives on
            conversation.add_text("user", "hello")
            done = [event async for event in conversation.respond()][-1]
            assert isinstance(done, ReplyDone)
            assert done.status == "failed"
            assert words in done.reason
        await engine.close()

    asyncio.run(test())


def test_places_where_no_model_is(chain: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no model 'other'; it has chat"):
        loaded(chain, options(endpoint, backend_model="other"))
    with pytest.raises(UserError, match="no list of models"):
        loaded(chain, options(endpoint, backend_url="http://127.0.0.1:9/v1"))
    monkeypatch.setenv(remote.KEY_VARIABLE, "wrong")

    async def refused() -> None:
        engine = loaded(chain, options(endpoint))
        conversation = engine.open()
        conversation.add_text("user", "hello")
        done = [event async for event in conversation.respond()][-1]
        assert isinstance(done, ReplyDone)
        assert "status 401" in done.reason
        await engine.close()

    asyncio.run(refused())
