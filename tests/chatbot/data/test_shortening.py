"""Shortening through an endpoint, against a real HTTP server that is busy, broken, slow or refuses."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from chatbot.data.filter import FilterConfig
from chatbot.data.gathering import Gatherer
from chatbot.data.shortening import EndpointConfig, LongReply, Shortener
from runtime.chat_endpoint import ChatEndpoint, RequestConfig, UnansweredError
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.progress import Progress
from tests.support.permits import wait_for

Answer = Callable[[str, int], tuple[int, bytes]]


class Endpoint:
    """A server whose answer to a question depends on the question and how often it was asked."""

    def __init__(self) -> None:
        self.answer: Answer = lambda asked, number: (200, self.text("short"))
        self.asked: Counter[str] = Counter()
        self.headers: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        endpoint, counting = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                question = body["messages"][1]["content"].split("\n")[1]
                with counting:
                    endpoint.asked[question] += 1
                    number = endpoint.asked[question]
                endpoint.headers.append(f"{self.path} {self.headers.get('Authorization')}")
                endpoint.bodies.append(body)
                status, content = endpoint.answer(question, number)
                if not status:  # hang up
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # hung up by the client
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/"

    @staticmethod
    def text(words: str) -> bytes:
        return json.dumps({"choices": [{"message": {"role": "assistant", "content": words}}]}).encode()

    @property
    def config(self) -> EndpointConfig:
        return EndpointConfig(url=self.url, model="m")


def requests(**changes: Any) -> RequestConfig:
    quick: dict[str, Any] = {"wait_seconds": 0.001, "timeout_seconds": 300, "retries": 2}
    return RequestConfig(**quick | changes)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()


HASTY = 0.25  # seconds
REPLY = LongReply("train/a/1", "why", "because of this and that")


def test_the_key_is_taken_from_the_environment(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    shortener = Shortener(endpoint.config, requests(key_variable="MY_KEY"), 7)
    assert shortener.answer(REPLY) == "short"
    assert endpoint.headers == ["/v1/chat/completions Bearer secret"]
    asked = endpoint.bodies[0]
    assert asked["model"] == "m" and "at most 7 words" in asked["messages"][0]["content"]
    assert "because of this" in asked["messages"][1]["content"]


@pytest.mark.parametrize(
    "trouble",
    [
        (429, b"busy"),
        (500, b"broken"),
        (200, b"no JSON"),
        (200, b'{"choices": []}'),
        (200, Endpoint.text(" ")),
        (0, b""),
        "slow",
    ],
)
def test_trouble_that_passes_is_sat_out(endpoint: Endpoint, trouble: Any) -> None:
    how, is_over = requests(), threading.Event()

    def answer(asked: str, number: int) -> tuple[int, bytes]:
        if trouble != "slow":
            return trouble if number < 3 else (200, Endpoint.text("short"))
        if how.timeout_seconds == HASTY:
            is_over.wait()
        return 200, Endpoint.text("short")

    def shortener() -> Shortener:
        made = Shortener(endpoint.config, how, 7)
        if trouble == "slow":
            made.endpoint = HastyAtFirst(endpoint.url, "m", how, "shorten")
        return made

    endpoint.answer = answer
    assert shortener().answer(REPLY) == "short"
    wait_for(lambda: endpoint.asked["why"] == 3)  # who is asked in haste may hear of it later
    endpoint.asked.clear()
    how.retries = 1
    with pytest.raises(UnansweredError):
        shortener().answer(REPLY)
    wait_for(lambda: endpoint.asked["why"] == 2)
    is_over.set()


class HastyAtFirst(ChatEndpoint):
    """Its first two requests hardly wait for an answer, its third does."""

    tries = 0

    def _post(self, path: str, body: Any) -> Any:
        self.tries += 1
        self.requests.timeout_seconds = HASTY if self.tries < 3 else 300
        return super()._post(path, body)


def test_what_will_never_be_answered_is_not_asked_again(endpoint: Endpoint) -> None:
    endpoint.answer = lambda asked, number: (400, b"too much")
    with pytest.raises(UnansweredError, match="status 400"):
        Shortener(endpoint.config, requests(), 7).answer(REPLY)
    endpoint.answer = lambda asked, number: (401, b"bad key")
    with pytest.raises(UserError, match=r"status 401 \(bad key\).*the key in OPENAI_API_KEY"):
        Shortener(endpoint.config, requests(), 7).answer(REPLY)
    assert endpoint.asked["why"] == 2
    with pytest.raises(UserError, match="option shorten"):
        EndpointConfig(url=endpoint.url)


def write_source(folder: Path, count: int) -> str:
    records = [
        {"id": f"d{number}", "instruction": f"question {number}", "response": "because of this and that " * 4}
        for number in range(count)
    ]
    (folder / "source.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(folder / "source.jsonl")


def gather(folder: Path, source: str, config: EndpointConfig, how: RequestConfig) -> dict[str, Any]:
    gatherer = Gatherer(folder, FilterConfig(max_reply_words=8), config, how, 0.0)
    with Progress(folder, 0, "replies", is_shown=False) as bar:
        return gatherer.gather(source, "train", bar)


def test_answers_are_kept_and_the_rest_is_asked_for_again(endpoint: Endpoint, tmp_path: Path) -> None:
    """Stopped by too many failures, then called again: nothing is asked twice, and the texts are as of one call."""
    source = write_source(tmp_path, 12)
    sound: Answer = lambda asked, number: (200, Endpoint.text(f"- short **{asked}**"))  # noqa: E731
    endpoint.answer = sound
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    counts = gather(tmp_path / "one", source, endpoint.config, requests(concurrency=3))
    assert (counts["dialogues"], counts["shortened"], counts["ended"]) == (12, 12, {})
    assert endpoint.asked.total() == 12
    endpoint.answer = lambda asked, number: (400, b"") if asked.endswith(("3", "7")) else sound(asked, number)
    with pytest.raises(UserError, match=r"2 of 12 replies were not shortened \(2 times: status 400\)"):
        gather(tmp_path / "two", source, endpoint.config, requests())
    journal = tmp_path / "two" / "shortened.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])  # the kill tore its last line
    endpoint.answer = sound
    endpoint.asked.clear()
    assert gather(tmp_path / "two", source, endpoint.config, requests()) == counts
    assert endpoint.asked.total() == 3
    texts = [(tmp_path / name / "texts" / "train.jsonl").read_bytes() for name in ("one", "two")]
    assert texts[0] == texts[1] and b'"short question 11"' in texts[0]
    endpoint.asked.clear()
    gather(tmp_path / "two", source, endpoint.config, requests())
    assert not endpoint.asked, "a finished split is not gathered again"


def test_answers_that_cannot_be_spoken_end_the_dialogue(endpoint: Endpoint, tmp_path: Path) -> None:
    source = write_source(tmp_path, 4)
    answers = {"question 0": "fine", "question 1": "see www.example.org", "question 2": "on " * 9}
    endpoint.answer = lambda asked, number: (200, Endpoint.text(answers[asked])) if asked in answers else (400, b"")
    counts = gather(tmp_path, source, endpoint.config, requests(max_failed_share=0.5))
    assert (counts["dialogues"], counts["shortened"]) == (1, 1)
    assert counts["ended"] == {
        "reply to be shortened: no answer": 1,
        "reply to be shortened: not to be read aloud": 1,
        "reply to be shortened: too long": 1,
    }


def test_many_failures_end_the_call_early(endpoint: Endpoint, tmp_path: Path) -> None:
    endpoint.answer = lambda asked, number: (400, b"")
    with pytest.raises(UserError, match="20 of 20 replies were not shortened"):
        gather(tmp_path, write_source(tmp_path, 300), endpoint.config, requests(concurrency=1))
    assert endpoint.asked.total() < 30
    with Journal(tmp_path / "shortened.jsonl") as journal:
        assert not journal.records
