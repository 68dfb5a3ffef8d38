"""Work for clients that leave: it is stopped, what it held is freed, and nobody learns of our inside."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest

from chatbot.server.app import create_app
from chatbot.server.errors import ApiError
from chatbot.server.options import ServerOptions
from chatbot.server.stream import StreamedResponse, primed, while_connected
from runtime.errors import UserError

from .conftest import Live


class Client:
    """A client that takes ``most`` pieces and leaves when told."""

    def __init__(self, most: int = 100) -> None:
        self.left, self.most = asyncio.Event(), most
        self.taken: list[bytes] = []

    async def receive(self) -> dict[str, Any]:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if len(self.taken) >= self.most:
            await asyncio.sleep(60)
        if message["type"] == "http.response.body":
            self.taken.append(message["body"])


async def endless(log: list[str]) -> AsyncGenerator[bytes]:
    try:
        while True:
            yield b"piece"
            await asyncio.sleep(0.001)
    finally:
        log.append("closed")


def streamed(pieces: AsyncGenerator[bytes], log: list[str], seconds: float = 30.0) -> StreamedResponse:
    return StreamedResponse(pieces, media_type="text/plain", seconds=seconds, on_end=lambda: log.append("ended"))


def test_a_stream_ends_when_the_client_leaves() -> None:
    async def run() -> None:
        client, log = Client(), list[str]()
        response = asyncio.create_task(streamed(endless(log), log)({"type": "http"}, client.receive, client.send))
        while len(client.taken) < 3:
            await asyncio.sleep(0.001)
        client.left.set()
        await response
        assert log == ["closed", "ended"]

    asyncio.run(run())


def test_a_stream_gives_up_a_client_that_takes_nothing() -> None:
    async def run() -> None:
        client, log = Client(most=2), list[str]()
        await streamed(endless(log), log, seconds=0.1)({"type": "http"}, client.receive, client.send)
        assert log == ["closed", "ended"]

    asyncio.run(run())


def test_a_stream_that_never_began_ends_too() -> None:
    async def run() -> None:
        client, log = Client(most=0), list[str]()
        client.left.set()
        await streamed(endless(log), log)({"type": "http"}, client.receive, client.send)
        assert log[-1] == "ended"

    asyncio.run(run())


def test_work_is_done_or_stopped() -> None:
    async def run() -> None:
        client, log = Client(), list[str]()

        async def work(seconds: float) -> str:
            try:
                await asyncio.sleep(seconds)
                return "done"
            finally:
                log.append("over")

        assert await while_connected(client.receive, work(0), 30) == "done"
        with pytest.raises(ApiError) as late:
            await while_connected(client.receive, work(60), 0.05)
        assert late.value.status_code == 504
        client.left.set()
        with pytest.raises(ApiError):
            await while_connected(client.receive, work(60), 30)
        assert log == ["over"] * 3

    asyncio.run(run())


def test_what_is_wrong_with_the_first_piece_is_told_before_it_is_sent() -> None:
    async def wrong() -> AsyncGenerator[bytes]:
        raise UserError("the text", found="nothing", remedy="write")
        yield b""

    async def right() -> AsyncGenerator[bytes]:
        for piece in (b"a", b"b"):
            yield piece

    async def run() -> None:
        with pytest.raises(UserError):
            await primed(wrong())
        assert [piece async for piece in await primed(right())] == [b"a", b"b"]

    asyncio.run(run())


def test_errors_of_ours_go_to_the_log_only(
    live: Live, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def load(self) -> None:
            raise RuntimeError("a secret of our inside")

        def __getattr__(self, name: str) -> Any:
            return getattr(live.engine, name)

    async def ask(path: str) -> httpx.Response:
        app = create_app(Broken(), ServerOptions())  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return await client.get(path)

    with caplog.at_level(logging.INFO, "speechweave"):
        answer = asyncio.run(ask("/healthz"))
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert "a secret of our inside" in caplog.text
    (line,) = [told for told in access_lines(caplog) if " 500 " in told]
    assert re.fullmatch(r'127\.0\.0\.1 key=- "GET /healthz" 500 \d+ bytes \d+\.\d+ s', line)


def access_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Also those of the server in its thread, which may still write down the requests of the test before."""
    return [record.getMessage() for record in caplog.records if record.name == "speechweave.access"]


def test_a_log_line_stays_one_line(live: Live, caplog: pytest.LogCaptureFixture) -> None:
    async def ask() -> None:
        app = create_app(live.engine, ServerOptions())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            await client.get("/a%0D%0Aforged%20line")

    with caplog.at_level(logging.INFO, "speechweave"):
        asyncio.run(ask())
    (line,) = [told for told in access_lines(caplog) if "forged" in told]
    assert "\n" not in line
    assert "\r" not in line
