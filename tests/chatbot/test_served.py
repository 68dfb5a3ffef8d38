"""A served chatbot seen from outside: the stage that evaluates it, and a short soak."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from corpus.audio.files import read_audio
from corpus.manifest import read_manifest
from corpus.world.questions import read_questions
from evaluation.chat import STAGE
from evaluation.load_test.config import ServingConfig
from evaluation.question_answering.answers import read_answers
from evaluation.served_chat.config import KEY_VARIABLE, ChatEvaluationConfig
from evaluation.served_chat.exchange import spoken_question
from evaluation.served_chat.load_generator import SpokenQuestion
from evaluation.served_chat.server import ServedBundle, serve_bundle
from evaluation.served_chat.soak import draw_memory, growth, soak
from evaluation.serving import STAGE as SERVING
from runtime.errors import UserError

from .conftest import CAPITALS, KEY, MAX_TALKERS


@pytest.fixture
def corpus(chain: Path, tmp_path: Path) -> Path:
    """The spoken corpus with the sentences that the judge needs."""
    folder = shutil.copytree(chain / "corpus", tmp_path / "corpus")
    sentences = [json.loads(line)["reply"] for line in (folder / "questions.jsonl").read_text().splitlines()]
    (folder / "sentences.txt").write_text("\n".join(sentences))
    return folder


def config(served: ServedBundle, corpus: Path, out: Path, **changes: Any) -> ChatEvaluationConfig:
    options: dict[str, Any] = {
        "out": str(out),
        "corpus": str(corpus),
        "url": served.url,
        "talkers": [MAX_TALKERS],
        "interruptions": 1,
        "processes": 1,
    }
    return ChatEvaluationConfig(**{**options, **changes})


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_stage_asks_judges_and_goes_on_after_a_kill(
    served: ServedBundle, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    out = tmp_path / "out"
    metrics = STAGE.execute(config(served, corpus, out))
    labels = [f"commit.{MAX_TALKERS}", f"server_vad.{MAX_TALKERS}"]
    for label in labels:
        assert metrics[f"{label}.questions"] == len(CAPITALS)
        assert metrics[f"{label}.errors"] == 0
        assert 0 < metrics[f"{label}.first_audio.p50"] <= metrics[f"{label}.first_audio.p99"]
        assert 0 <= metrics[f"{label}.speech_to_text_accuracy"] <= 1
    assert metrics["commit.interrupted.cases"] == metrics["server_vad.interrupted.cases"] == 1
    questions = read_questions(corpus)
    assert len(read_answers(out, lambda _, words: questions.get(words))) == 2 * len(CAPITALS)
    assert {record["condition"] for record in lines(out / "answers.jsonl")} == set(labels)
    for record in lines(out / "answers.jsonl"):
        if record["reply_audio"]:
            assert len(read_audio(out / record["reply_audio"])) / 16000 == pytest.approx(record["seconds"], abs=1e-2)
    table = (out / "chat.md").read_text()
    assert all(f"| {label} |" in table for label in labels)
    assert (out / "latency.png").read_bytes().startswith(b"\x89PNG")

    kept = (out / "answers.jsonl").read_bytes(), (out / "conditions.jsonl").read_bytes()
    (out / "done.json").unlink()  # a kill before the end
    assert STAGE.execute(config(served, corpus, out)) == metrics
    assert ((out / "answers.jsonl").read_bytes(), (out / "conditions.jsonl").read_bytes()) == kept


def test_what_cannot_be_asked_is_explained(served: ServedBundle, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give either bundle"):
        config(served, corpus, tmp_path / "out", bundle="somewhere")
    with pytest.raises(UserError, match=r"first request failed.*SPEECHWEAVE"):  # it has no key
        STAGE.execute(config(served, corpus, tmp_path / "out"))
    with (
        pytest.raises(UserError, match="no chatbot bundle"),
        serve_bundle(tmp_path, tmp_path / "server.log") as nothing,
    ):
        assert nothing is None


@pytest.mark.parametrize("interface", ["realtime", "chat_completions"])
def test_latency_is_measured_over_both_interfaces_and_kept_after_a_kill(
    served: ServedBundle, chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interface: str
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    data, out, talkers = str(chain / "corpus" / "heldout_sentence.jsonl"), tmp_path / "out", [2]
    config = ServingConfig(out=str(out), model=served.url, data=data, talkers=talkers, requests=2, interface=interface)
    metrics = SERVING.execute(config)
    lines = [json.loads(line) for line in (out / "requests.jsonl").read_text().splitlines()]
    assert [line["talkers"] for line in lines] == [count for count in talkers for _ in range(2)]
    for count in talkers:
        assert (metrics[f"{count}.requests"], metrics[f"{count}.failures"], metrics[f"{count}.e2el.n"]) == (2, 0, 2)
    spoken = [line for line in lines if line["audio_ttfp"] is not None]
    assert spoken
    for line in spoken:
        assert 0 < line["ttft"] <= line["audio_ttfp"] <= line["e2el"]
        assert line["audio_duration"] > 0
    written = json.loads((out / "serving.json").read_text())
    assert [each["talkers"] for each in written["measurements"]] == talkers
    assert "data:image/png;base64," in (out / "serving.html").read_text()

    kept = (out / "requests.jsonl").read_bytes()
    (out / "done.json").unlink()  # a kill before the end
    monkeypatch.delenv(KEY_VARIABLE)  # nothing is asked again
    assert SERVING.execute(config) == metrics
    assert (out / "requests.jsonl").read_bytes() == kept


def test_a_refused_request_and_a_missing_model_are_explained(
    served: ServedBundle, chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    data = str(chain / "corpus" / "heldout_sentence.jsonl")
    options = {"out": str(tmp_path / "out"), "data": data, "talkers": [1], "requests": 1}
    with pytest.raises(UserError, match="first request failed"):
        SERVING.execute(ServingConfig(model=served.url, interface="chat_completions", **options))
    with pytest.raises(UserError, match="nowhere: no such file or folder"):
        SERVING.execute(ServingConfig(model="nowhere", **options))


def test_a_short_soak_answers_everyone_and_frees_everyone(served: ServedBundle, chain: Path, tmp_path: Path) -> None:
    utterances = read_manifest(str(chain / "corpus" / "heldout_sentence.jsonl")).utterances[:3]
    questions = [SpokenQuestion(each.id, spoken_question(read_audio(each.audio), 16000)) for each in utterances]
    crowd = MAX_TALKERS - 1  # who vanishes may come back before the server has noticed, and needs another place
    result = asyncio.run(soak(served.url, questions, clients=crowd, seconds=4.0, memory=served.memory, key=KEY, seed=3))
    assert result.errors == []
    assert result.exchanges
    assert (result.still_open, result.is_healthy) == (0, True)
    assert len(result.memory) >= 2
    assert result.summary()["answered"] == len(result.exchanges)
    draw_memory(tmp_path / "soak.png", result)
    assert (tmp_path / "soak.png").read_bytes().startswith(b"\x89PNG")


def test_growth_is_the_slope_after_the_warm_up() -> None:
    megabyte = 2**20
    warm = [(float(second), 100 * megabyte) for second in range(20)]
    steady = [(float(second), (200 + second) * megabyte) for second in range(20, 101)]
    found = growth([*warm, *steady])
    assert found["growth_mb_a_minute"] == pytest.approx(60.0)
    assert (found["memory_start_mb"], found["memory_warm_mb"], found["memory_end_mb"]) == (100.0, 220.0, 300.0)
    assert growth([(0.0, 1)]) == {}
