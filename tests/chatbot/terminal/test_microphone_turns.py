"""Questions by microphone: the terminal hears the turn that every other interface hears."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.options import EngineOptions
from chatbot.engine.turns import HeardTurn, TurnListener
from chatbot.engine.vad import TurnOptions
from chatbot.terminal import sound_card
from chatbot.terminal.dialogue import TerminalDialogue
from corpus.audio.files import SAMPLE_RATE, Samples

from ..conftest import HANG_SECONDS  # noqa: TID252


def room(*parts: tuple[float, float]) -> Samples:
    """Parts of (seconds, loudness) noise."""
    rng = np.random.default_rng(0)
    pieces = [rng.standard_normal(int(seconds * SAMPLE_RATE)) * level for seconds, level in parts]
    return np.concatenate(pieces).astype(np.float32)


@pytest.fixture
def bundle(chain: Path) -> Bundle:
    return Bundle.from_pretrained(chain / "bundle")


def heard(bundle: Bundle, sound: Samples, monkeypatch: pytest.MonkeyPatch) -> tuple[bool, list[int], list[int]]:
    """Whether there was a question in the microphone's sound; its ids, and those of the turn as it is cut elsewhere."""

    def open_stream(kind: str, rate: int, take: Any) -> Any:
        if kind == "input":
            for begin in range(0, len(sound), 1600):
                take(sound[begin : begin + 1600, None])
        return SimpleNamespace(samplerate=rate, latency=0.0, close=lambda: None)

    monkeypatch.setattr(sound_card, "open_stream", open_stream)

    async def listen() -> tuple[bool, list[int], list[int]]:
        engine = Engine(bundle, EngineOptions(max_talkers=2))
        try:
            conversation, other = engine.open(), engine.open()
            found = await asyncio.wait_for(TerminalDialogue(engine, conversation, None)._listen(), HANG_SECONDS)
            turn = TurnListener(TurnOptions(), engine.limits.max_question_seconds).feed(sound)
            for piece in turn:
                if isinstance(piece, HeardTurn):
                    other.feed(piece.samples)
            if found:
                await other.commit()
            read = [[id for message in each.messages for id in message.ids] for each in (conversation, other)]
            return found, read[0], read[1]
        finally:
            await engine.close(0)

    return asyncio.run(listen())


def test_a_question_is_its_turn(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    found, ids, turn = heard(bundle, room((0.8, 1e-4), (0.7, 0.1), (1.5, 1e-4)), monkeypatch)
    assert found and ids == turn != []


def test_silence_is_no_question(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    found, ids, _ = heard(bundle, room((8.5, 1e-4)), monkeypatch)
    assert not found and ids == []


def test_a_turn_that_does_not_end_is_ended(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was recorded on until it was too long to be a question, and lost."""
    found, ids, turn = heard(bundle, room((0.8, 1e-4), (bundle.longest_question + 1.0, 0.1)), monkeypatch)
    assert found and ids == turn != []
