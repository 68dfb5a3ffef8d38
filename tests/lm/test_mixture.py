"""Mixtures: shares, epochs, and the arithmetic of what cannot be met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from corpus.errors import UserError
from lm.corpora import CorpusInfo, SplitCounts
from lm.mixture import mix

SIZES = {"text": 1000, "speech": 100, "asr": 50, "tts": 50, "interleaved": 400}


def corpora(**sizes: int) -> dict[str, CorpusInfo]:
    return {
        name: CorpusInfo(
            folder=Path(name), format=name.split("_")[0], vocabulary="v", speech_tokenizer="s",
            splits={"train": SplitCounts(documents=1, text_tokens=size, speech_tokens=0, longest=size)},
        )
        for name, size in (sizes or SIZES).items()
    }  # fmt: skip


def decide(found: dict[str, CorpusInfo] | None = None, **changes: Any) -> Any:
    options = {"weights": {}, "rule": "tokens", "text_share": 0.3, "budget": 1000, "max_epochs": 0.0}
    return mix(corpora() if found is None else found, **options | changes)


def test_by_size_reads_each_corpus_equally_often() -> None:
    mixture = decide(budget=3200)
    assert sum(mixture.shares.values()) == pytest.approx(1)
    assert set(mixture.epochs.values()) == {2.0}


def test_weights_are_normalised_and_zero_leaves_out() -> None:
    mixture = decide(weights={"text": 3, "speech": 1, "asr": 0, "tts": 0, "interleaved": 0})
    assert mixture.shares == {"text": 0.75, "speech": 0.25}
    assert mixture.epochs == {"text": 0.75, "speech": 2.5}
    assert "75.0%" in mixture.table()


def test_the_papers_rule() -> None:
    mixture = decide(rule="paper", budget=1000)
    assert mixture.shares["text"] == pytest.approx(0.3)
    assert [mixture.epochs[name] for name in ("speech", "asr", "tts")] == pytest.approx([1, 1, 1])
    assert mixture.shares["interleaved"] * 1000 == pytest.approx(700 - 200)
    two = corpora(**SIZES, text_b=3000)
    shares = decide(two, rule="paper", budget=1000).shares
    assert shares["text_b"] == pytest.approx(3 * shares["text"]) == pytest.approx(0.225)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rule": "paper", "budget": 250}, ["75", "speech 100 + asr 50 + tts 50", "-25", "more than 286"]),
        ({"weights": {"txt": 1}}, ["'txt'", "text, speech"]),
        ({"weights": {"text": 1}}, ["'speech'", "weights.speech"]),
        ({"weights": dict.fromkeys(SIZES, 0.0)}, ["one above 0"]),
        ({"max_epochs": 0.5}, ["62.5%", "0.6 epochs", "1,000 tokens", "max_epochs"]),
        ({"found": {}}, ["corpora.NAME=FOLDER"]),
        ({"found": corpora(text=10), "rule": "paper"}, ["interleaved"]),
        ({"found": corpora(text=10, interleaved=10, chat=10), "rule": "paper"}, ["chat"]),
    ],
)
def test_what_cannot_be_met_is_an_error_with_its_numbers(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        decide(**changes)
    for word in words:
        assert word in str(error.value)
