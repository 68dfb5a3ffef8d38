"""Edit distances equal the definition; scores under noise rise with the noise, add up, and survive a kill."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.manifest import read_manifest
from corpus.tokens import read_tokens
from tests.support.tokenizer_runs import encode_config, evaluate_config
from tokenizer import encode, evaluate
from tokenizer.model import SpeechTokenizer
from tokenizer.scoring import robustness
from tokenizer.scoring.config import EvaluationNoiseConfig, TokenizerEvaluateConfig
from tokenizer.scoring.robustness import edit_distance
from tokenizer.scoring.transcripts import SplitScores, summarise

TOKENS = st.lists(st.integers(0, 3), max_size=7)


@pytest.mark.parametrize(
    ("one", "other", "edits"),
    [
        ([], [], 0),
        ([], [1, 2, 3], 3),
        ([1, 2, 3], [], 3),
        ([1, 2, 3], [1, 2, 3], 0),
        ([1, 2, 3], [1, 9, 3], 1),
        ([1, 2, 3], [1, 3], 1),
        ([1, 2, 3], [1, 2, 2, 3], 1),
        ([1, 2, 3, 4], [2, 3, 4, 5], 2),
        ([5, 5, 5], [6, 6, 6], 3),
        ([1, 2], [2, 1], 2),
        ([7, 1, 2, 3, 8], [1, 2, 3], 2),
        ([65535], [0], 1),
    ],
)
def test_edit_distance_truth_table(one: list[int], other: list[int], edits: int) -> None:
    assert edit_distance(one, other) == edits
    assert edit_distance(np.array(other, dtype=np.uint16), np.array(one, dtype=np.uint16)) == edits


def by_definition(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    @functools.cache
    def distance(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        change = distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        return min(change, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(one), len(other))


@given(TOKENS, TOKENS)
def test_edit_distance_equals_its_definition(one: list[int], other: list[int]) -> None:
    assert edit_distance(one, other) == by_definition(tuple(one), tuple(other))


@pytest.fixture(scope="module")
def artefact(tokenizer: SpeechTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("untrained") / "artefact"
    tokenizer.save_pretrained(folder)
    return folder


def config(artefact: Path, corpus: Path, out: Path) -> TokenizerEvaluateConfig:
    noise = EvaluationNoiseConfig(snrs=[40.0, 0.0], kinds=["white", "babble"], max_utterances=4)
    return TokenizerEvaluateConfig(
        tokenizer=str(artefact),
        corpus=str(corpus),
        out=str(out),
        splits=["heldout_sentence"],
        noise=noise,
        stream_utterances=2,
    )


def test_scores_under_noise(artefact: Path, spoken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = evaluate.STAGE.execute(config(artefact, spoken, tmp_path / "out"))
    printed = capsys.readouterr().out
    for kind in ("white", "babble"):
        near, far = (metrics[f"token_edit_distance_{kind}_{snr}db"] for snr in (40, 0))
        assert 0 <= near < far <= 1.5, kind
        assert f"{far:.1%}" in printed and f"{metrics[f'wer_{kind}_0db']:.1%}" in printed
    both = [metrics[f"token_edit_distance_{kind}_0db"] for kind in ("white", "babble")]
    assert metrics["token_edit_distance_0db"] == pytest.approx(np.mean(both))
    assert metrics["stream_chunk_seconds"] == 4 / 12.5 and metrics["stream_cpu_seconds_per_chunk"] > 0
    assert metrics["cpu_rtf"] > 0 and "under noise" in printed and "40 dB" in printed


def test_a_killed_evaluation_goes_on_where_it_was(
    artefact: Path, spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenizer.scoring.transcripts.READ_TOGETHER", 2)
    monkeypatch.setattr(robustness, "READ_TOGETHER", 2)
    whole = evaluate.STAGE.execute(config(artefact, spoken, tmp_path / "unbroken"))
    work, calls = robustness.noised_counts, []

    def killed_at_the_third(*arguments: Any) -> list[dict[str, int]]:
        calls.append(arguments[4])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(robustness, "noised_counts", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        evaluate.STAGE.execute(config(artefact, spoken, tmp_path / "broken"))
    scores = tmp_path / "broken/scores.jsonl"
    scores.write_bytes(scores.read_bytes() + b'{"noise": "white_0')  # torn by the kill
    encoded: list[int] = []
    encode = SpeechTokenizer.encode
    monkeypatch.setattr(
        SpeechTokenizer, "encode", lambda self, audios: encoded.append(len(audios)) or encode(self, audios)
    )
    again = evaluate.STAGE.execute(config(artefact, spoken, tmp_path / "broken"))
    assert (
        encoded == [2] * 4 and len(calls) == 5
    )  # the two pairs of (kind, utterances) that were not done, two SNRs each
    timing = ("rtf", "seconds")
    assert {k: v for k, v in again.items() if not any(word in k for word in timing)} == {
        k: v for k, v in whole.items() if not any(word in k for word in timing)
    }
    lines = [json.loads(line) for line in scores.read_text().splitlines()]
    assert len(lines) == 3 + 2 * 2 * 2 and scores.read_text().count('"noise"') == 8


def test_clean_speech_has_no_distance(tokenizer: SpeechTokenizer, spoken: Path) -> None:
    from corpus.audio.files import read_audio

    utterances = read_manifest(spoken / "heldout_sentence.jsonl").utterances[:3]
    audios = [read_audio(utterance.audio) for utterance in utterances]
    clean = SplitScores(64, utterances=utterances, tokens=tokenizer.encode(audios))
    counts = robustness.noised_counts(tokenizer, utterances, audios, clean.tokens, "white", [200.0], seed=1)
    assert counts[0]["edits"] == 0 and counts[0]["tokens"] == sum(map(len, clean.tokens))


def test_scripts_without_spaces_have_character_errors(spoken: Path) -> None:
    one = read_manifest(spoken / "heldout_sentence.jsonl").utterances[0]
    scores = SplitScores(64, utterances=[replace(one, text="今天天气很好")], without_vq=["今天天很好"])
    assert scores.report(1)["cer_without_vq"] == pytest.approx(1 / 6) and scores.report(1)["wer_without_vq"] == 1
    assert summarise({"heldout_sentence": scores})["cer_without_vq"] == pytest.approx(1 / 6)
    assert "cer_without_vq" not in SplitScores(64, utterances=[one], without_vq=[one.text]).report(1)


@pytest.mark.parametrize(
    ("options", "named"), [({"kinds": ["brown"]}, "option kinds"), ({"max_utterances": 1}, "option max_utterances")]
)
def test_wrong_noise_options_are_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        EvaluationNoiseConfig(**options)


def test_evaluation_report(trained: Path, spoken: Path, tmp_path: Path) -> None:
    metrics = evaluate.STAGE.execute(evaluate_config(trained / "artefact", spoken, tmp_path / "out"))
    expected = json.loads((trained / "metrics.json").read_text())
    for name in ("wer_with_vq", "wer_without_vq", "wer_heldout_voice", "codebook_use", "perplexity"):
        assert metrics[name] == pytest.approx(expected[name])
    split = json.loads((tmp_path / "out/report.json").read_text())["splits"]["heldout_sentence"]
    assert {voice["voice"] for voice in split["voices"]} == {"tence-0", "tence-1"}
    assert sum(split["code_counts"]) == sum(len(tokens.tokens) for tokens in encoded(trained, spoken, tmp_path))
    assert len(split["examples"]) == 2 and split["examples"][0]["tokens"]


def encoded(trained: Path, corpus: Path, folder: Path) -> Any:
    encode.STAGE.execute(encode_config(trained, corpus, folder / "tokens"))
    return read_tokens(folder / "tokens/heldout_sentence.parquet").items
