"""Mixtures: shares, epochs, and the arithmetic of what cannot be met."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lm.data.corpora import CorpusInfo
from lm.data.mixture import PUBLISHED, PUBLISHED_TOKENS, mix
from lm.data.shards import SplitCounts
from lm.training.config import LmTrainConfig
from runtime.errors import UserError

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


BILLION = 10**9
TABLE = {  # facts of arXiv 2412.02612, table 2: speech and text tokens in 1e9, epochs
    "interleaved": (455.0, 279.0, 0.90),
    "speech": (31.0, 0.0, 2.10),
    "supervised": (11.0, 3.5, 2.07),
    "text": (0.0, 10_000.0, 0.03),
}


def test_the_papers_table_gives_its_own_sum() -> None:
    """Corpora of the table's sizes, at the sum of the table's tokens: every kind's tokens and epochs to 0.5 %."""
    sizes = {kind: speech + text for kind, (speech, text, _) in TABLE.items()}
    parts = {"asr": 0.4 * sizes["supervised"], "tts": 0.6 * sizes["supervised"]}
    found = corpora(**{name: round(size * BILLION) for name, size in (sizes | parts).items() if name != "supervised"})
    assert abs(PUBLISHED_TOKENS / BILLION - 1055.7) < 0.1
    mixture = decide(found, rule="published_shares", budget=round(PUBLISHED_TOKENS))
    tokens = {name: share * mixture.budget / BILLION for name, share in mixture.shares.items()}
    tokens["supervised"] = tokens.pop("asr") + tokens.pop("tts")
    for kind, (speech, text, epochs) in TABLE.items():
        assert tokens[kind] == pytest.approx((speech + text) * epochs, rel=0.005), kind
    expected = {"interleaved": 660.6, "speech": 65.1, "supervised": 30.0, "text": 300.0}
    assert tokens == pytest.approx(expected, rel=0.005)
    for name, epochs in mixture.epochs.items():
        assert epochs == pytest.approx(TABLE.get(name, TABLE["supervised"])[2], rel=0.005)
    speech = sum(row.speech * row.epochs for row in PUBLISHED.values())
    assert speech == pytest.approx(497.4 * BILLION, rel=0.005)


def test_2000_samples_are_drawn_as_the_table_says(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Within 3 sigma of each kind's weight; a run that goes on from the middle draws the very same samples."""
    from lm.data.corpora import open_corpus
    from lm.data.dataset import build_training_data, prepare_cache
    from lm.data.micro_batches import BatchIndices, read_batches
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    found = {form: open_corpus(tiny.folder / form, tiny.vocabulary) for form in SIZES}
    steps, batch = 250, 8
    mixture = decide(found, rule="published_shares", budget=steps * batch * 32)
    names = [name for name, share in mixture.shares.items() if share > 0]

    def draw(cache: str, first_step: int) -> list[tuple[int, bytes]]:
        prepare_cache(tmp_path / cache)
        with open_processes(ParallelConfig()):
            data = build_training_data(
                found, mixture.shares, tiny.vocabulary, num_samples=steps * batch, sequence_length=32, seed=5,
                cache=tmp_path / cache,
            )  # fmt: skip
            indices = BatchIndices(
                first_step=first_step, last_step=steps, global_batch=batch, micro_batch=2, data_rank=0, data_size=1,
                num_samples=steps * batch,
            )  # fmt: skip
            kinds = [int(data.dataset_index[index]) for chosen in indices for index in chosen]
            tokens = [row.numpy().tobytes() for read in read_batches(data, indices) for row in read["tokens"]]
        return list(zip(kinds, tokens, strict=True))

    whole = run_ranks(lambda: draw("whole", 0), 1)[0]
    assert len(whole) == 2000
    for number, name in enumerate(names):
        share = mixture.shares[name]
        count = sum(kind == number for kind, _ in whole)
        assert abs(count - 2000 * share) <= 3 * (2000 * share * (1 - share)) ** 0.5, name
    assert run_ranks(lambda: draw("whole", 125), 1)[0] == whole[1000:]
    assert run_ranks(lambda: draw("another", 125), 1)[0] == whole[1000:]
    assert len({tokens for _, tokens in whole}) > 300  # of 250 documents, cut anew in every epoch


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
        ({"found": corpora(text=10, interleaved=10, asr=9), "rule": "published_shares"}, ["speech only", "6.2%"]),
        ({"found": corpora(**SIZES, chat=10), "rule": "published_shares"}, ["chat", "table"]),
    ],
)
def test_what_cannot_be_met_is_an_error_with_its_numbers(changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        decide(**changes)
    for word in words:
        assert word in str(error.value)


def test_the_old_name_of_the_published_shares_is_refused_by_name() -> None:
    with pytest.raises(
        UserError, match=r"option mixture: found 'table2'.*published_shares \(the last was named table2"
    ):
        LmTrainConfig(out="o", vocabulary="v", mixture="table2")
