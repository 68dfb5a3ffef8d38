"""The page with a model that hears vectors: spoken turns have no words, and are answered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatbot.server.options import ServerOptions

from .conftest import serve
from .test_talk import ask_by_keyboard


@pytest.fixture(scope="module")
def hearing_url(hearing_chain: Path) -> Iterator[str]:
    with serve(hearing_chain / "streamed" / "bundle", ServerOptions(grace_seconds=0.5)) as running:
        yield running.url


def test_spoken_and_typed_questions(visit, hearing_url: str) -> None:
    talk = visit(hearing_url).ready()
    ask_by_keyboard(talk)
    talk.wait(".assistant[data-state=done]")
    talk.phase("idle")
    talk.page.fill("#question", "and what is this?")
    talk.page.press("#question", "Enter")
    talk.until(lambda: len(talk.is_received("response.done")) == 2)
    talk.phase("idle")
    (first, *_), (second, *_) = talk.turns()[0], talk.turns()[2]
    assert (first, second) == ("user", "user")
    assert [said for who, said, _ in talk.turns() if who == "user"] == ["(spoken)", "and what is this?"]
    assert not talk.is_received("error") and not talk.complaints
    assert talk.is_sent("session.update")[0]["session"]["audio"]["input"]["transcription"] is None
