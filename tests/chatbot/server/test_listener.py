"""The listening process: signals, sockets on which nothing comes, metrics, and the command around it."""

from __future__ import annotations

import contextlib
import gc
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatbot.engine.options import EngineOptions
from chatbot.server.command import main, with_keys
from chatbot.server.listener import open_socket
from chatbot.server.options import ServeConfig, ServerOptions
from chatbot.server.process import freeze_loaded_objects
from chatbot.server.replies import Replies
from runtime.config import compose_config
from runtime.errors import UserError

from ..conftest import HANG_SECONDS  # noqa: TID252
from .conftest import KEY, Live, until

SPEECH = {"model": "bundle", "voice": "default", "input": "the capital of france", "response_format": "wav"}


@pytest.fixture
def served(chain: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and its URL."""
    words = ["--bundle", str(chain / "bundle"), "--port", "0", "--aliases", "bundle"]
    words += [word for name in ("grace", "header", "body") for word in (f"--{name}-seconds", f"{HANG_SECONDS}")]
    command = [sys.executable, "-m", "recipes.cli", "serve", *words]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    found = re.search(r"at (http://\S+) \(", line)
    assert found, (line, (tmp_path / "log").read_text())
    yield process, found[1]
    process.kill()
    process.wait()


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, timeout=HANG_SECONDS, **more)


def post(url: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/audio/speech", timeout=HANG_SECONDS, **more)


def test_sigterm_lets_replies_finish(served: tuple[subprocess.Popen[str], str]) -> None:
    process, url = served
    refused: list[int] = []
    body = json.dumps(SPEECH).encode()

    def half_before_the_signal() -> Iterator[bytes]:
        yield body[:20]
        until(lambda: "speechweave_requests_under_way 1.0" in get(f"{url}/metrics").text)
        process.send_signal(signal.SIGTERM)
        until(lambda: get(f"{url}/healthz").status_code == 503)
        refused.append(post(url, json=SPEECH).status_code)
        yield body[20:]

    answer = post(url, content=half_before_the_signal(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 200
    assert len(answer.content) > 44
    assert refused == [503]
    assert process.wait(HANG_SECONDS) == 0


def test_a_port_in_use_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with open_socket(ServerOptions(port=0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 2
    assert f"option --port {port}: Address already in use" in capsys.readouterr().err
    with pytest.raises(UserError, match="option --host"):
        open_socket(ServerOptions(host="203.0.113.1", port=0))


def test_no_bundle_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["--port", "0", "--bundle", str(tmp_path)]) == 2
    assert "no chatbot bundle" in capsys.readouterr().err


def serve_config(*words: str) -> ServeConfig:
    return compose_config(ServeConfig, words)


def test_options_come_from_words_file_and_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("key-of-the-file\n")
    monkeypatch.setenv("SPEECHWEAVE_API_KEYS", "key-of-the-environment,")
    words = [
        "--api-keys",
        "key-of-the-words",
        "--api-key-file",
        str(tmp_path / "keys"),
        "--cors-origins",
        "https://a.org",
    ]
    options = with_keys(serve_config(*words))
    assert options.api_keys == ["key-of-the-words", "key-of-the-environment", "key-of-the-file"]
    assert options.cors_origins == ["https://a.org"]
    monkeypatch.delenv("SPEECHWEAVE_API_KEYS")
    assert vars(ServerOptions()).items() <= vars(with_keys(serve_config())).items()
    assert vars(EngineOptions()).items() <= vars(serve_config()).items()
    remote = vars(serve_config("--backend-url", "http://gpu/v1", "--max-talkers", "3"))
    assert vars(EngineOptions(backend_url="http://gpu/v1", max_talkers=3)).items() <= remote.items()


@pytest.mark.parametrize(
    "wrong", [{"port": -1}, {"api_keys": ["short"]}, {"cors_origins": ["*"]}, {"burst": 0}, {"requests_per_minute": -1}]
)
def test_wrong_options_are_named(wrong: dict[str, object]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=name):
        ServerOptions(**wrong)  # type: ignore[arg-type]


def test_metrics_count_what_was_done(live: Live) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}

    def metrics() -> dict[str, float]:
        lines = get(f"{live.url}/metrics", headers=headers).text.splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    until(lambda: metrics()["speechweave_talkers"] == 0 and metrics()["speechweave_requests_under_way"] == 0)
    before = metrics()
    body = SPEECH | {"model": live.engine.model_name}
    sound = post(live.url, json=body, headers=headers).content
    post(live.url, json=body | {"model": "none"}, headers=headers)

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0.0)

    counted = 'speechweave_request_seconds_count{route="/v1/audio/speech"}'  # the last of a request to be counted
    until(lambda: metrics()[counted] == before.get(counted, 0.0) + 2)
    after = metrics()
    route = 'route="/v1/audio/speech"'
    assert [grown(f'speechweave_requests_total{{{route},status="{status}"}}') for status in (200, 404)] == [1, 1]
    kind = 'kind="speech"'
    assert grown(f'speechweave_replies_total{{{kind},status="completed"}}') == 1
    assert grown(f"speechweave_first_audio_seconds_count{{{kind}}}") == 1
    assert grown(f"speechweave_real_time_factor_count{{{kind}}}") == 1
    seconds = (len(sound) - 44) / 2 / live.engine.sample_rate
    assert grown(f"speechweave_audio_seconds_total{{{kind}}}") == pytest.approx(seconds)
    tokens = grown('speechweave_tokens_total{direction="output",modality="audio"}')
    assert tokens == pytest.approx(seconds / 0.08)
    assert (after["speechweave_talkers"], after["speechweave_max_talkers"]) == (0, 3)
    assert after['python_gc_collections_total{generation="2"}'] >= 1


def test_the_cycle_collector_looks_at_what_comes_after_the_start_only() -> None:
    before = len(gc.get_objects())
    try:
        freeze_loaded_objects()
        assert gc.get_freeze_count() > 0.9 * before
        assert len(gc.get_objects()) < 0.1 * before
    finally:
        gc.unfreeze()


def test_replies_are_remembered_for_a_time() -> None:
    now = 0.0
    replies = Replies(10, 2, clock=lambda: now)
    for name in ("a", "b", "c"):
        replies.keep(name, name.upper(), "caller")
    assert replies.text_of("c", "caller") == "C"
    for name, caller in (("a", "caller"), ("c", "another"), ("d", "caller")):
        with pytest.raises(Exception, match="No spoken reply"):
            replies.text_of(name, caller)
    now = 11.0
    with pytest.raises(Exception, match="expired"):
        replies.text_of("c", "caller")


def test_silent_sockets_are_closed(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    host, port = live.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), HANG_SECONDS) as kept:
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += (piece := kept.recv(1000))
            assert piece, answer
        assert b"200 OK" in answer
        monkeypatch.setattr(live.options, "header_seconds", 0.5)  # from now on
        kept.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        assert is_closed(kept)
    with (
        socket.create_connection((host, int(port)), HANG_SECONDS) as silent,
        socket.create_connection((host, int(port)), HANG_SECONDS) as slow,
    ):
        with contextlib.suppress(ConnectionError):  # closed already, on a busy machine
            slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        assert is_closed(silent)
        assert is_closed(slow)


def is_closed(line: socket.socket) -> bool:
    """Wait until something comes, or the connection is closed without a word."""
    try:
        return line.recv(1) == b""
    except ConnectionError:
        return True
