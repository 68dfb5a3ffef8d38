"""How connections end, and what hostile clients get: a bare WebSocket against a real server on loopback."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as connect_within

from .conftest import PATIENCE, Event, Server, append, sound

StartServer = Callable[..., Server]
connect = functools.partial(connect_within, open_timeout=PATIENCE, ping_interval=None)


@pytest.fixture(scope="module")
def strict(start_server: StartServer) -> Server:
    """A server that takes short messages only."""
    return start_server(max_message_bytes=100_000)


def say(client: ClientConnection, *events: Event) -> None:
    for event in events:
        client.send(json.dumps(event))


def hear(client: ClientConnection) -> Event:
    return json.loads(client.recv(PATIENCE))


def until(client: ClientConnection, kind: str) -> Event:
    while True:
        event = hear(client)
        if event["type"] == kind:
            return event


def all_is_free(server: Server) -> bool:
    """Whether the server has let go of every talker, sooner or later."""
    ends = time.monotonic() + PATIENCE
    while server.talkers() and time.monotonic() < ends:
        time.sleep(0.01)
    return server.talkers() == 0


def closing(client: ClientConnection) -> tuple[int, list[Event]]:
    """The code that the server closes with, and what it says before."""
    events = []
    try:
        while True:
            events.append(hear(client))
    except ConnectionClosed as closed:
        return (closed.rcvd.code if closed.rcvd else 1006), events


def ask(client: ClientConnection) -> None:
    detection: dict[str, Any] = {"input": {"turn_detection": None}}
    say(client, {"type": "session.update", "session": {"type": "realtime", "audio": detection}}, append(sound(0.6)))
    say(client, {"type": "input_audio_buffer.commit"}, {"type": "response.create"})


def test_garbage_is_answered_and_the_session_goes_on(server: Server) -> None:
    with connect(server.url, subprotocols=["realtime", "openai-insecure-api-key.x"]) as client:  # type: ignore[list-item]
        assert client.subprotocol == "realtime"
        assert hear(client)["type"] == "session.created"
        for garbage, code in (
            ("{", "invalid_json"),
            (b"\x00" * 100, "invalid_message"),
            ("[" * 50_000, "invalid_json"),
            ('"text"', "invalid_type"),
            ('{"type": "nonsense"}', "invalid_value"),
            ('{"type": "input_audio_buffer.append", "audio": "AAAAA"}', "invalid_audio"),
            ('{"type": "session.update", "session": {"type": "realtime", "x": NaN}}', "unknown_parameter"),
        ):
            client.send(garbage)
            event = hear(client)
            assert (event["type"], event["error"]["code"]) == ("error", code)
        ask(client)
        assert until(client, "response.done")["response"]["output"]
    assert all_is_free(server)


def test_a_message_too_long_ends_the_connection(strict: Server) -> None:
    with connect(strict.url) as client:
        client.send("x" * 100_001)
        assert closing(client)[0] == 1009
    assert all_is_free(strict)


def test_one_talker_too_many_is_told_so(server: Server) -> None:
    assert all_is_free(server)  # whoever was here before
    with connect(server.url) as first, connect(server.url) as second:
        hear(first), hear(second)
        with connect(server.url) as third:
            code, events = closing(third)
        assert code == 1013
        assert [(event["type"], event["error"]["code"]) for event in events] == [("error", "engine_full")]
    assert all_is_free(server)
    with connect(server.url) as again:
        assert hear(again)["type"] == "session.created"


def test_a_client_that_vanishes_mid_reply_frees_its_talker(server: Server) -> None:
    client = connect(server.url)
    ask(client)
    until(client, "response.created")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # no goodbye: a reset
    client.socket.shutdown(socket.SHUT_RDWR)
    assert all_is_free(server)


def test_who_is_silent_is_let_go(start_server: StartServer) -> None:
    server = start_server(idle_seconds=0.6)
    with connect(server.url) as client:
        code, events = closing(client)
    assert code == 1000
    assert [event["type"] for event in events] == ["session.created", "error"]
    assert events[1]["error"]["code"] == "session_idle"
    assert all_is_free(server)


def deaf(server: Server) -> socket.socket:
    """A connection of which only the answer to its handshake is read: no events, no pings."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(PATIENCE)
    raw.connect(("127.0.0.1", server.port))
    lines = ["GET /v1/realtime HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "", ""]
    raw.sendall("\r\n".join(lines).encode())
    assert b"101" in raw.recv(100)
    return raw


def test_a_half_open_socket_is_noticed(start_server: StartServer) -> None:
    """Nobody answers the server's pings, as after a cable was pulled."""
    server = start_server(ping_seconds=0.2)
    with deaf(server):
        assert all_is_free(server)


def test_a_client_that_takes_nothing_is_let_go(start_server: StartServer) -> None:
    """It asks and never reads: its events fill the buffers of the socket, then the outbox, and no more."""
    server = start_server(send_seconds=0.3, outbox_events=4, linger_seconds=0.3)
    part = {"type": "input_audio", "audio": append(sound(2.0))["audio"]}
    item = {"type": "message", "role": "user", "content": [part] * 6, "id": "long"}
    retrieve = {"type": "conversation.item.retrieve", "item_id": "long"}
    with deaf(server) as raw:
        assert server.talkers() == 1
        with contextlib.suppress(ConnectionError):  # it may be let go before it has asked for all
            for event in ({"type": "conversation.item.create", "item": item}, *[retrieve] * 25):
                raw.sendall(Frame(Opcode.TEXT, json.dumps(event).encode()).serialize(mask=True))
        assert all_is_free(server)
        ends = time.monotonic() + PATIENCE
        while server.sockets and time.monotonic() < ends:  # although the client has not closed it
            time.sleep(0.01)
        assert server.sockets == 0


def test_who_goes_on_sending_is_told_why_it_is_not_heard(server: Server) -> None:
    """A connection that were closed at once would be reset, which may reach the client before the reason."""
    with deaf(server) as raw:
        raw.sendall(b"\x81\xff" + struct.pack(">Q", 1 << 40) + b"mask")
        told = b""
        while not re.search(rb"\x88.\x03\xf1", told, re.DOTALL):  # a closing frame with code 1009
            piece = raw.recv(1 << 16)
            assert piece, told
            told += piece
        for _ in range(50):
            raw.sendall(bytes(1 << 16))
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(1 << 16):
            pass
    assert all_is_free(server)


def test_the_server_says_goodbye(start_server: StartServer) -> None:
    server = start_server()
    with connect(server.url) as idle, connect(server.url) as busy:
        hear(idle)
        ask(busy)
        until(busy, "response.created")
        server.close_connections()
        assert closing(idle)[0] == 1001
        assert closing(busy)[0] == 1001
        assert server.talkers() == 0
        with connect(server.url) as late:
            assert closing(late)[0] == 1001
