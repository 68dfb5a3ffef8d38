from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from chatbot.engine.engine import Engine
from chatbot.engine.options import EngineOptions
from chatbot.engine.tts import MOST_WORDS, pieces_of, written_out


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello there. How are you? ", ["Hello there.", "How are you?"]),
        ("one, two", ["one, two"]),
        (" ... !", []),
        ("a " * 25, ["a " * (MOST_WORDS - 1) + "a", "a a a a a"]),
        ("a " * 15 + "a, " + "b " * 9 + "b", ["a " * 15 + "a,", "b " * 9 + "b"]),
    ],
)
def test_texts_are_cut_where_one_breathes(text: str, pieces: list[str]) -> None:
    assert list(pieces_of(text)) == pieces


def test_numbers_are_written_out_before_a_text_is_cut() -> None:
    text = "Dr. J. R. Lee of St. Louis has No. 5. It costs $5M, on an x86-64."
    assert list(pieces_of(written_out(text))) == [
        "doctor J R Lee of saint Louis has number five.",
        "It costs five million dollars, on an x eight six dash six four.",
    ]
    assert written_out("温度是-5℃。版本2.4.1！") == "温度是零下五摄氏度。 版本二点四点一！"


def test_words_are_neither_lost_nor_moved() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        words = [str(n) + rng.choice(["", "", "", ",", ".", ";"]) for n in range(int(rng.integers(1, 90)))]
        pieces = list(pieces_of(" ".join(words)))
        assert " ".join(pieces).split() == words
        assert max(len(piece.split()) for piece in pieces) <= MOST_WORDS


def test_sentences_follow_each_other_without_a_seam(chain: Path) -> None:
    async def spoken(engine: Engine, text: str) -> list[np.ndarray]:
        return [samples async for samples in engine.speak(text)]

    async def test() -> None:
        engine = Engine.from_pretrained(chain / "bundle", EngineOptions(max_jobs=1))
        first, second, both = [
            np.concatenate(await spoken(engine, text))
            for text in ("The capital.", "Of france is paris.", "The capital. Of france is paris.")
        ]
        assert len(both) == len(first) + len(second)
        np.testing.assert_allclose(both[: len(first) - 2560], first[:-2560], atol=1e-4)
        talk = engine.speak("Hello. " * 40)
        await anext(talk)
        await engine.close()  # one who still listens is told
        with pytest.raises(Exception, match="closed"):
            async for _ in talk:
                pass

    asyncio.run(asyncio.wait_for(test(), 300))
