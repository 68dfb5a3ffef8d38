"""An endpoint's failures: their reasons and retries, when a run ends for them, and what its error says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.chat_endpoint import EARLY, ChatEndpoint, ChatRequest, FailureTally, RequestConfig, UnansweredError
from runtime.errors import UserError
from runtime.journal import Journal
from tests.support.chat_server import Reply, chat_server, message


def test_few_failures_are_counted_and_end_nothing() -> None:
    tally = FailureTally("http://x", "answers were not judged", 0.1)
    for number in range(100):
        tally.add("busy" if number % 10 == 0 else "")
    tally.check()
    assert (tally.asked, dict(tally.failures)) == (100, {"busy": 10})


def test_too_large_a_share_ends_the_run_early_and_at_its_end() -> None:
    tally = FailureTally("http://x", "answers were not judged", 0.1)
    for _ in range(EARLY - 1):
        tally.add("busy")
    with pytest.raises(UserError, match=rf"{EARLY} of {EARLY} answers were not judged \(19 times: busy\).*answers are"):
        tally.add("status 400")
    tally = FailureTally("http://x", "answers were not judged", 0.1, answered=9)  # by an earlier call
    tally.add("busy")
    tally.check()
    tally = FailureTally("http://x", "answers were not judged", 0.1, answered=8)
    tally.add("busy")
    with pytest.raises(UserError, match=r"http://x: 1 of 9 answers were not judged .*max_failed_share=0\.1"):
        tally.check()
    FailureTally("http://x", "answers were not judged", 0.0).check()


def counted(texts: list[str]) -> Reply:
    choices = [{"message": {"role": "assistant", "content": text}} for text in texts]
    return 200, {"choices": choices, "usage": {"prompt_tokens": 10, "completion_tokens": len(texts)}}


@pytest.mark.parametrize("way", ["takes n", "answers once", "refuses n", "answers too often"])
def test_an_endpoint_gives_as_many_answers_as_were_asked_for(tmp_path: Path, way: str) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        wanted = body.get("n", 1)
        if way == "refuses n" and wanted > 1:
            return 400, {"error": {"message": "n must be 1"}}
        number = {"answers once": 1, "answers too often": 7}.get(way, wanted)
        return counted([f"{len(served.asked)}.{one}" for one in range(number)])

    with chat_server(reply) as served, Journal(tmp_path / "j") as journal:
        endpoint = ChatEndpoint(served.url, "m", RequestConfig(concurrency=1, retries=0))
        asked = [ChatRequest(name, [{"role": "user", "content": "q"}], {"n": 3}) for name in ("a", "b")]
        assert list(endpoint.complete_all(asked, journal)) == ["", ""]
    assert all(len(record["texts"]) == len(set(record["texts"])) == 3 for record in journal.records)
    tries = {"takes n": 2, "answers once": 6, "refuses n": 7, "answers too often": 2}[way]
    assert len(served.asked) == tries, "a refusal of n is met once"
    prompts = 10 * (6 if way in ("answers once", "refuses n") else 2)
    assert sum(record["prompt_tokens"] for record in journal.records) == prompts, "all requests are paid for"


def test_a_request_that_is_invalid_without_n_too_is_a_failure(tmp_path: Path) -> None:
    with chat_server(lambda body: (400, {"error": "bad"})) as served, Journal(tmp_path / "j") as journal:
        endpoint = ChatEndpoint(served.url, "m", RequestConfig(concurrency=1))
        asked = ChatRequest("a", [{"role": "user", "content": "q"}], {"n": 3})
        assert list(endpoint.complete_all([asked], journal)) == ["status 400"]
    assert len(served.asked) == 2 and endpoint._takes_n


def one_choice(**fields: Any) -> Reply:
    return 200, {"choices": [{"message": {"role": "assistant", "content": None}} | fields]}


FILTER = {"code": "content_filter", "message": "the prompt of request 77 was filtered"}


@pytest.mark.parametrize(
    ("reply", "reason", "tries"),
    [
        (one_choice(), "an answer without text", 3),
        (one_choice(finish_reason="content_filter"), "stopped by the endpoint's content filter", 1),
        (
            one_choice(finish_reason="content_filter", message={"content": '{"judgment": "corr'}),
            "stopped by the endpoint's content filter",
            1,
        ),
        (one_choice(message={"content": None, "refusal": "no"}), "a refusal without an answer", 3),
        ((400, {"error": FILTER}), "status 400 (content_filter)", 1),
        ((400, {"error": "bad"}), "status 400", 1),
        ((500, {"error": {"message": "broken"}}), "status 500", 3),
        ((200, {"error": {"message": "quota exceeded"}}), "an answer without choices (quota exceeded)", 3),
        ((200, {"choices": "none"}), "an answer without choices", 3),
        ((200, [1]), "an answer that is no JSON object", 3),
        ((200, b"<html>"), "an answer that is not JSON", 3),
        ((0, None), "RemoteProtocolError: Server disconnected without sending a response.", 3),
    ],
)
def test_a_failure_has_its_reason_and_is_retried_where_that_may_help(reply: Reply, reason: str, tries: int) -> None:
    with chat_server(lambda _: reply) as served:
        client = ChatEndpoint(served.url, "m", RequestConfig(retries=2, wait_seconds=0.001))
        with pytest.raises(UnansweredError) as raised:
            client.complete(ChatRequest("a", []))
    assert str(raised.value) == reason and len(served.asked) == tries


def test_strange_counts_of_tokens_cost_no_answer() -> None:
    status, body = message("yes")
    with chat_server(lambda _: (status, body | {"usage": {"prompt_tokens": "many", "completion_tokens": 2}})) as served:
        found = ChatEndpoint(served.url, "m", RequestConfig()).complete(ChatRequest("a", []))
    assert (found.texts, found.prompt_tokens, found.completion_tokens) == (["yes"], 0, 2)


def test_a_refused_key_names_the_options_that_gave_url_and_model() -> None:
    with chat_server(lambda _: (403, {"error": {"message": "forbidden"}})) as served:
        for options, words in (
            (("url", "model"), "check url, model and the key in MY_KEY"),
            (("a.b", "c"), "check a.b, c"),
        ):
            client = ChatEndpoint(served.url, "m", RequestConfig(key_variable="MY_KEY"), options)
            with pytest.raises(UserError, match=f"403.*forbidden.*{words}"):
                client.complete(ChatRequest("a", []))


def test_a_run_that_is_interrupted_asks_nothing_more(tmp_path: Path) -> None:
    """The requests that wait, and the retries of those that run, are given up; what was answered is kept."""
    with chat_server(lambda body: message("yes") if body["messages"] == ["0"] else (503, {})) as served:
        client = ChatEndpoint(served.url, "m", RequestConfig(retries=50, wait_seconds=60, concurrency=2))
        asked = (ChatRequest(str(number), [str(number)]) for number in range(40))  # type: ignore[list-item]
        with Journal(tmp_path / "journal.jsonl") as journal:
            answers = client.complete_all(asked, journal)
            assert next(answers) == ""
            with pytest.raises(KeyboardInterrupt):
                answers.throw(KeyboardInterrupt)
            assert [record["name"] for record in journal.records] == ["0"]
        assert len(served.asked) <= 4
