"""Clients that mean harm, or are broken, against a real server process: it answers as it should, and serves on.

After every one of them a good question is asked and answered, over HTTP or the Realtime protocol.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import signal
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile
import websockets

from evaluation.served_chat.exchange import REALTIME_RATE, Pcm, spoken_question
from evaluation.served_chat.realtime_client import ClientOptions, RealtimeClient
from evaluation.served_chat.server import ServedBundle, serve_bundle

from .conftest import HANG_SECONDS, KEY, MAX_BODY, MAX_TALKERS, babble

AUTHORISED = {"Authorization": f"Bearer {KEY}"}
PATIENCE = HANG_SECONDS
SHORT_SECONDS = "1"  # that the impatient server waits for headers, and for a body
TEXT = {"model": "any", "messages": [{"role": "user", "content": "what is the capital of france"}]}


@pytest.fixture
def client(served: ServedBundle) -> Iterator[httpx.Client]:
    """A client; when the test is over, a good question must be answered."""
    with httpx.Client(base_url=served.url, headers=AUTHORISED, timeout=PATIENCE) as client:
        yield client
        assert client.get("/healthz").json()["status"] == "ok"
        wait_until(lambda: talkers(client) == 0)  # who has left is let go in a moment
        model = client.get("/v1/models").json()["data"][0]["id"]
        answer = client.post("/v1/chat/completions", json=TEXT | {"model": model, "max_completion_tokens": 8})
        assert answer.status_code == 200, answer.text
        wait_until(lambda: talkers(client) == 0)


@pytest.fixture
def model(client: httpx.Client) -> str:
    name: str = client.get("/v1/models").json()["data"][0]["id"]
    return name


def talkers(client: httpx.Client) -> int:
    count: int = client.get("/healthz").json()["talkers"]
    return count


async def all_are_free(client: httpx.Client) -> None:
    await asyncio.to_thread(wait_until, lambda: talkers(client) == 0)


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def address(served: ServedBundle) -> tuple[str, int]:
    parts = urlsplit(served.url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port


def sound_file(samples: Any, rate: int = 16000, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


# -- HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong-key-here"}, {"Authorization": "Basic xyz"}])
@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/metrics"])
def test_without_a_key_there_is_no_entry(
    served: ServedBundle, client: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    answer = httpx.get(served.url + path, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 401
    assert KEY not in answer.text


def test_unknown_places_and_methods(client: httpx.Client) -> None:
    assert client.get("/v1/nothing").status_code == 404
    assert client.get("/v1/../../etc/passwd").status_code == 404
    assert client.delete("/v1/models").status_code == 405
    assert client.get("/v1/chat/completions").status_code == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe\x00", 400),
        (b"[" * 100_000, 400),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
        (b"null", 400),
        (b'{"model": 1e999, "messages": "no"}', 400),
        (b'{"messages": [{"role": "user", "content": "' + b"a" * (MAX_BODY + 1) + b'"}]}', 413),
    ],
)
def test_bodies_that_are_no_request(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]


def test_a_body_without_length_is_limited_too(client: httpx.Client) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * (MAX_BODY // 32)

    try:
        answer = client.post("/v1/chat/completions", content=pieces(), headers={"Content-Type": "application/json"})
    except httpx.WriteError:  # it hangs up on who goes on sending
        return
    assert answer.status_code == 413


def spoilt(kind: str) -> bytes:
    good = sound_file(babble(1, 1.0))
    return {
        "nothing": b"",
        "no sound": b"RIFF" + b"rubbish" * 40,
        "only a header": good[:44],
        "no samples": sound_file(np.zeros(0, np.float32)),
        "NaN": sound_file(np.full(16000, np.nan, np.float32), subtype="FLOAT"),
        "too short": sound_file(babble(1, 0.02)),
        "an hour": sound_file(np.zeros(3600 * 4000, np.float32), 4000, "FLAC"),
        "an hour, uncompressed": good[:44] + bytes(3600 * 2000),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("nothing", {400}),
        ("no sound", {400}),
        ("only a header", {400}),
        ("no samples", {400}),
        ("NaN", {400}),
        ("too short", {400}),
        ("an hour", {400, 413}),
        ("an hour, uncompressed", {413}),
    ],
)
def test_sound_files_that_cannot_be_heard(client: httpx.Client, model: str, kind: str, statuses: set[int]) -> None:
    answer = client.post("/v1/audio/transcriptions", data={"model": model}, files={"file": ("sound.wav", spoilt(kind))})
    assert answer.status_code in statuses, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 96000])
def test_sound_of_any_rate_is_heard(client: httpx.Client, model: str, rate: int) -> None:
    stereo = np.stack([babble(1, rate / 16000)] * 2, 1)
    answer = client.post(
        "/v1/audio/transcriptions", data={"model": model}, files={"file": ("s.wav", sound_file(stereo, rate))}
    )
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("data", ["not base64!", "UklGRg==", ""])
def test_sound_in_messages_that_is_none(client: httpx.Client, model: str, data: str) -> None:
    content = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
    answer = client.post(
        "/v1/chat/completions", json={"model": model, "messages": [{"role": "user", "content": content}]}
    )
    assert answer.status_code == 400, answer.text


def test_slow_and_silent_sockets_are_closed(chain: Path, tmp_path: Path) -> None:
    """Half-open connections, headers that never end, a body that never comes: each is let go."""
    limits = ["--api-keys", KEY, "--header-seconds", SHORT_SECONDS, "--body-seconds", SHORT_SECONDS]
    with serve_bundle(chain / "bundle", tmp_path / "server.log", more=limits) as impatient:
        impatient.process.send_signal(signal.SIGSTOP)  # its clocks start when all has been sent, however long it took
        asking, *sockets = [socket.create_connection(address(impatient), timeout=PATIENCE) for _ in range(13)]
        for number, each in enumerate(sockets):
            if number % 3 == 1:
                each.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            if number % 3 == 2:
                head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
                each.sendall((head + "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{").encode())
        asking.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        impatient.process.send_signal(signal.SIGCONT)
        assert everything(asking).startswith(b"HTTP/1.1 200")  # while they hang there
        for number, each in enumerate(sockets):
            answer = everything(each)
            assert answer.startswith(b"HTTP/1.1 408") == (number % 3 == 2), answer
            assert bool(answer) == (number % 3 == 2), answer


def everything(line: socket.socket) -> bytes:
    """All that comes until the server closes the connection, or cuts it off."""
    answer = b""
    with line, contextlib.suppress(ConnectionError):
        while data := line.recv(1 << 16):
            answer += data
    return answer


def test_headers_without_measure(served: ServedBundle, client: httpx.Client) -> None:
    with socket.create_connection(address(served), timeout=PATIENCE) as each:
        with contextlib.suppress(ConnectionError):
            each.sendall(b"GET /v1/models HTTP/1.1\r\nX-Long: " + b"a" * 1_000_000 + b"\r\n\r\n")
        answer = everything(each)
    assert answer == b"" or answer.split()[1] in (b"400", b"431")
    assert client.get("/v1/models", headers={"X-Long": "a" * 40_000}).status_code == 431


def test_a_listener_who_vanishes_frees_his_talker(client: httpx.Client, model: str) -> None:
    wanted = {
        "model": model,
        "stream": True,
        "modalities": ["text", "audio"],
        "audio": {"voice": "anna", "format": "pcm16"},
    }
    for _ in range(2 * MAX_TALKERS):
        with client.stream("POST", "/v1/chat/completions", json=TEXT | wanted) as answer:
            assert answer.status_code == 200
            next(answer.iter_lines())
        wait_until(lambda: talkers(client) < MAX_TALKERS)


# -- Realtime -----------------------------------------------------------------------------------------------------

QUESTION: Pcm = spoken_question(babble(3, 0.4), 16000)


def run(act: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(act, PATIENCE))


async def is_answered(talker: RealtimeClient) -> None:
    """A question over this connection gets its reply."""
    await talker.start(QUESTION)
    while (event := await talker.receive())["type"] != "response.done":
        assert event["type"] != "error", event
    assert event["response"]["status"] in ("completed", "incomplete"), event


def open_talker(served: ServedBundle, turn: str = "commit") -> RealtimeClient:
    return RealtimeClient(served.url, ClientOptions(turn=turn, key=KEY, timeout=PATIENCE))


@pytest.mark.parametrize("key", [None, "wrong-key-here"])
def test_a_socket_without_a_key_is_refused(served: ServedBundle, client: httpx.Client, key: str | None) -> None:
    async def act() -> None:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with RealtimeClient(served.url, ClientOptions(key=key)):
                pass
        assert refused.value.response.status_code in (401, 403)

    run(act())


GARBAGE: list[str | bytes] = [
    b"\x00\xff\x00\xff",
    "",
    "{",
    "[]",
    '"text"',
    "null",
    "[" * 100_000,
    '{"type": ["a"]}',
    '{"type": "no.such.event"}',
    '{"type": "input_audio_buffer.append"}',
    '{"type": "input_audio_buffer.append", "audio": 5}',
    '{"type": "input_audio_buffer.append", "audio": "not base64!"}',
    '{"type": "input_audio_buffer.commit"}',  # of nothing
    '{"type": "response.cancel"}',  # of nothing
    '{"type": "conversation.item.truncate", "item_id": "none", "content_index": 0, "audio_end_ms": -5}',
    '{"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcm", '
    '"rate": 16000}}}}}',
    '{"type": "session.update", "session": {"type": "realtime", "audio": {"output": {"voice": "nobody"}}}}',
    '{"type": "response.create", "response": {"max_output_tokens": -1}}',
]


def test_garbage_is_told_and_the_session_goes_on(served: ServedBundle, client: httpx.Client) -> None:
    async def act() -> None:
        async with open_talker(served) as talker:
            for rubbish in GARBAGE:
                await talker.socket.send(rubbish)
                event = await talker.receive()
                assert event["type"] == "error", (rubbish[:80], event)
                assert event["error"]["message"]
            await is_answered(talker)

    run(act())


@pytest.mark.parametrize("megabytes", [17, 40])
def test_a_giant_message_ends_its_connection_only(served: ServedBundle, client: httpx.Client, megabytes: int) -> None:
    async def act() -> None:
        async with open_talker(served) as good:
            async with open_talker(served) as bad:
                with pytest.raises(websockets.ConnectionClosed) as closed:
                    await bad.socket.send("a" * (megabytes << 20))
                    await bad.socket.wait_closed()
                    raise bad.socket.protocol.close_exc
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1009
            await is_answered(good)

    run(act())


def test_audio_without_end_is_refused_and_forgotten(served: ServedBundle, client: httpx.Client) -> None:
    """Ten minutes of audio, as fast as the line takes it: the server says no, and does not keep it."""
    piece = base64.b64encode(np.zeros(20 * REALTIME_RATE, "<i2").tobytes()).decode()

    async def act() -> None:
        async with open_talker(served) as talker:
            before = served.memory()
            for _ in range(30):
                await talker.send({"type": "input_audio_buffer.append", "audio": piece})
            await talker.send({"type": "input_audio_buffer.commit"})
            event = await talker.receive()
            assert event["type"] == "error", event
            await talker.send({"type": "input_audio_buffer.clear"})
            while event["type"] != "input_audio_buffer.cleared":
                event = await talker.receive()
            assert served.memory() - before < 200 << 20
            await is_answered(talker)

    run(act())


@pytest.mark.parametrize("turn", ["commit", "server_vad"])
def test_a_talker_who_vanishes_in_the_middle_is_freed(served: ServedBundle, client: httpx.Client, turn: str) -> None:
    async def vanish(when: str) -> None:
        async with open_talker(served, turn) as talker:
            if when == "asking":
                await talker.send(
                    {"type": "input_audio_buffer.append", "audio": base64.b64encode(QUESTION.tobytes()).decode()}
                )
            elif when == "replying":
                await talker.start(QUESTION)
                while (await talker.receive())["type"] not in ("response.output_audio.delta", "response.done"):
                    pass
            talker.socket.transport.abort()

    async def act() -> None:
        for when in ("at once", "asking", "replying"):
            await asyncio.gather(*(vanish(when) for _ in range(MAX_TALKERS)))
            await all_are_free(client)
        async with open_talker(served) as talker:
            await is_answered(talker)

    run(act())


def test_fifty_at_once_are_refused_but_for_those_who_find_room(served: ServedBundle, client: httpx.Client) -> None:
    async def connect() -> tuple[str, Any]:
        url = served.url.replace("http", "ws", 1) + "/v1/realtime"
        link = await websockets.connect(url, additional_headers=AUTHORISED, open_timeout=PATIENCE)
        return json.loads(await link.recv())["type"], link

    async def act() -> None:
        links = await asyncio.gather(*(connect() for _ in range(50)))
        welcome = [link for kind, link in links if kind == "session.created"]
        turned_away = [link for kind, link in links if kind == "error"]
        assert (len(welcome), len(turned_away)) == (MAX_TALKERS, 50 - MAX_TALKERS)
        for link in turned_away:
            await link.wait_closed()
            assert link.close_code == 1013
        health = (await asyncio.to_thread(client.get, "/healthz")).json()
        assert (health["status"], health["talkers"]) == ("ok", MAX_TALKERS)
        full = await asyncio.to_thread(client.post, "/v1/chat/completions", json=TEXT)
        assert full.status_code in (404, 429, 503), full.text
        for link in welcome:
            await link.close()
        await all_are_free(client)
        async with open_talker(served) as talker:
            await is_answered(talker)

    run(act())


def test_frames_that_are_no_websocket(served: ServedBundle, client: httpx.Client) -> None:
    """After a right handshake: a reserved opcode, an unmasked frame, a length that lies, and a half-closed line."""
    frames = [b"\x83\x80\x00\x00\x00\x00", b"\x81\x05hello", b"\x81\xff" + struct.pack(">Q", 1 << 62) + b"\0" * 4, b""]
    for frame in frames:
        with socket.create_connection(address(served), timeout=PATIENCE) as line:
            key = base64.b64encode(b"0123456789abcdef").decode()
            line.sendall(
                f"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
            )
            assert line.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 101"
            if frame:
                line.sendall(frame)
            else:
                line.shutdown(socket.SHUT_WR)
            everything(line)  # the server ends it
