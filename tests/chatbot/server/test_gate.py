"""The gate: who enters, with what, how often; over HTTP and WebSocket, in OpenAI's words."""

from __future__ import annotations

import asyncio
import functools
import json
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import websockets
from websockets.sync.client import connect as connect_within

from chatbot.server.keys import ApiKeys, read_keys
from chatbot.server.options import ServerOptions
from chatbot.server.rates import Rates
from runtime.errors import UserError

from ..conftest import HANG_SECONDS  # noqa: TID252
from .conftest import KEY, Live, gated, until

BEARER = {"Authorization": f"Bearer {KEY}"}
connect = functools.partial(connect_within, open_timeout=HANG_SECONDS)


def get(live: Live, path: str = "/v1/models", **options: Any) -> Any:
    async def once() -> httpx.Response:
        headers = options.pop("headers", {})
        async with gated(live, **options) as client:
            return await client.get(path, headers=headers)

    return asyncio.run(once())


def test_a_wrong_key_is_told_as_openai_tells_it(live: Live) -> None:
    for client in (live.client("wrong-key"), live.client(KEY + "x"), live.client("x")):
        with pytest.raises(openai.AuthenticationError) as told:
            client.models.list()
        assert told.value.code == "invalid_api_key"
        assert told.value.response.headers["www-authenticate"] == "Bearer"
    assert [model.id for model in live.client("another-key").models.list()] == [live.engine.model_name]


def test_keys_open_v1_and_metrics_but_not_the_page(live: Live) -> None:
    paths = ("/", "/healthz", "/v1/models", "/metrics")
    status = {path: httpx.get(live.url + path, timeout=HANG_SECONDS).status_code for path in paths}
    assert status == {"/": 200, "/healthz": 200, "/v1/models": 401, "/metrics": 401}
    assert httpx.get(live.url + "/metrics", headers=BEARER, timeout=HANG_SECONDS).status_code == 200


def test_a_websocket_needs_the_key_too(live: Live) -> None:
    url = live.url.replace("http", "ws") + "/v1/realtime?model=x"
    for headers in ({}, {"Authorization": "Bearer wrong-key"}, BEARER | {"Origin": "https://evil.org"}):
        with pytest.raises(websockets.InvalidStatus) as told:
            connect(url, additional_headers=headers)
        assert told.value.response.status_code == (403 if "Origin" in headers else 401)
        assert json.loads(told.value.response.body or b"")["error"]["message"]
    protocols = [websockets.Subprotocol(name) for name in ("realtime", f"openai-insecure-api-key.{KEY}")]
    for named in ({"additional_headers": BEARER}, {"subprotocols": protocols, "origin": live.url}):
        with connect(url, **named) as session:
            assert json.loads(session.recv(timeout=HANG_SECONDS))["type"] == "session.created"
    until(lambda: live.call(live.engine.load).talkers == 0)


@pytest.mark.parametrize(
    ("origin", "status"),
    [("https://evil.org", 403), ("null", 403), ("http://localhost", 200), ("https://good.org", 200), (None, 200)],
)
def test_pages_of_other_origins_may_not_call(live: Live, origin: str | None, status: int) -> None:
    headers = {} if origin is None else {"Origin": origin}
    answer = get(live, headers=headers, cors_origins=["https://good.org"])
    assert answer.status_code == status
    is_named = origin == "https://good.org"
    assert answer.headers.get("access-control-allow-origin") == (origin if is_named else None)
    closed = get(live, headers=headers)
    assert "access-control-allow-origin" not in closed.headers


def test_a_preflight_needs_no_key(live: Live) -> None:
    headers = {
        "Origin": "https://good.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }

    async def preflight(**options: Any) -> int:
        async with gated(live, api_keys=[KEY], **options) as client:
            return (await client.options("/v1/chat/completions", headers=headers)).status_code

    assert asyncio.run(preflight(cors_origins=["https://good.org"])) == 200
    assert asyncio.run(preflight(cors_origins=["https://other.org"])) == 400
    assert asyncio.run(preflight()) == 403


def test_another_host_name_is_not_answered(live: Live) -> None:
    evil = {"Host": "evil.org"}
    assert get(live, "/healthz", headers=evil).status_code == 403
    assert get(live, "/healthz", headers=evil, host="0.0.0.0").status_code == 200
    assert get(live, "/healthz", headers=evil, allowed_hosts=["evil.org"]).status_code == 200


def test_large_headers_are_refused(live: Live) -> None:
    assert get(live, headers={"X-Large": "a" * 40_000}).status_code == 431


def test_the_rate_is_kept_for_each_key(live: Live) -> None:
    async def statuses() -> list[int]:
        keys = ["key-number-1", "key-number-2"]
        async with gated(live, api_keys=keys, requests_per_minute=0.1, burst=2) as client:
            answers = [
                await client.get("/v1/models", headers={"Authorization": f"Bearer {key}"})
                for key in (keys[0], keys[0], keys[0], keys[1])
            ]
        assert int(answers[2].headers["retry-after"]) > 60
        assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
        return [answer.status_code for answer in answers]

    assert asyncio.run(statuses()) == [200, 200, 429, 200]


def test_a_server_that_stops_takes_no_requests(live: Live) -> None:
    async def statuses() -> list[int]:
        async with gated(live) as client:
            client._transport.app.state.gate.is_closing = True  # type: ignore[attr-defined]
            answers = [await client.get(path) for path in ("/v1/models", "/healthz", "/")]
        assert answers[0].headers["retry-after"]
        return [answer.status_code for answer in answers]

    assert asyncio.run(statuses()) == [503, 503, 200]


def post(live: Live, content: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{live.url}/v1/audio/speech", content=content, headers=BEARER | headers, timeout=HANG_SECONDS)


def test_bodies_are_checked(live: Live) -> None:
    json_type = {"Content-Type": "application/json"}
    large = b'{"input": "' + b"a" * 26_000_000 + b'"}'
    assert post(live, large, **json_type).status_code == 413
    chunks = (large[start : start + 1_000_000] for start in range(0, len(large), 1_000_000))
    assert post(live, chunks, **json_type).status_code == 413  # no Content-Length tells it beforehand
    assert post(live, b"{}").status_code == 415
    assert post(live, b"{}", **{"Content-Type": "text/plain"}).status_code == 415
    for body in (b"", b"{", b"[]", b"null", b'"a"', b"{}", b"\xff", b"[" * 100_000, b'{"input": NaN}'):
        answer = post(live, body, **json_type)
        assert answer.status_code == 400, body[:20]
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/nothing", "/nothing", "/v1/models/nothing"])
def test_what_is_not_there(live: Live, path: str) -> None:
    answer = httpx.get(live.url + path, headers=BEARER, timeout=HANG_SECONDS)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"]


def test_a_slow_body_is_given_up(live: Live) -> None:
    async def answer() -> int:
        async def drip() -> Any:
            yield b"{"
            await asyncio.sleep(60)
            yield b"}"

        async with gated(live, body_seconds=0.2) as client:
            headers = {"Content-Type": "application/json"}
            return (await client.post("/v1/audio/speech", content=drip(), headers=headers)).status_code

    assert asyncio.run(answer()) == 408


def test_keys_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nfirst-key\n\n  second-key  \n")
    keys = ApiKeys(read_keys(file))
    assert keys.name_of("first-key") != keys.name_of("second-key") != None  # noqa: E711
    assert keys.name_of("third-key") is None
    assert "first-key" not in repr(vars(keys))
    assert "first-key" not in repr(ServerOptions(api_keys=read_keys(file)))
    file.write_bytes(b"\xef\xbb\xbffirst-key\r\n")  # as Windows' editor writes it
    assert read_keys(file) == ["first-key"]
    file.write_text("# nothing\n")
    for wrong in (file, tmp_path / "none"):
        with pytest.raises(UserError, match=str(wrong)):
            read_keys(wrong)


def test_a_bucket_fills_steadily() -> None:
    now = 0.0
    rates = Rates(60, 2, clock=lambda: now)
    assert [rates.wait("a") for _ in range(3)] == [0, 0, 1]
    now = 0.25
    assert rates.wait("a") == pytest.approx(0.75)
    now = 1.0
    assert rates.wait("a") == 0
    now = 1000.0
    assert [rates.wait("a") for _ in range(3)] == [0, 0, 1]
    assert Rates(0, 1).wait("a") == 0


def test_buckets_of_many_callers_stay_few() -> None:
    rates = Rates(1, 1)
    for number in range(rates.MAX_CALLERS + 10):
        rates.wait(str(number))
    assert len(rates._buckets) == rates.MAX_CALLERS
