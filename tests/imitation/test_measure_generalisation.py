"""The benchmark of generalisation run with a model that hears: conditions, kept answers, the same bytes again."""

import json
from pathlib import Path
from typing import Any

import pytest

from corpus.audio.files import write_audio
from imitation import ask, generalisation
from imitation.ask_config import AskConfig
from imitation.benchmark.config import BenchmarkConfig
from runtime.artefact import read_json
from runtime.chat_endpoint import RequestConfig
from runtime.errors import UserError
from tests.support.chat_server import Reply, chat_server, message
from tests.support.small_listening_model import save_small_listening_model
from tests.support.small_speech_model import TEXTS, noise

QUICK = RequestConfig(wait_seconds=0.001, retries=0, concurrency=2)
TASKS = """
tasks:
  first: {metric: accuracy, reference: {word: 1}, prompts: [first, begin], heldout_prompts: [start], max_new_tokens: 3}
  repeat: {metric: wer, reference: transcript, prompts: [repeat], heldout_prompts: [copy], max_new_tokens: 3}
  last: {metric: chrf, reference: {word: -1}, prompts: [last], is_heldout: true, max_new_tokens: 3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("benchmark")
    save_small_listening_model(made / "model")
    (made / "tasks.yaml").write_text(TASKS)
    rows = []
    for number in range(6):
        write_audio(made / f"{number}.wav", noise(number, 0.5 + number / 8))
        row = {"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": 0.5 + number / 8}
        rows.append(row | {"text": TEXTS[number % 2]})
    (made / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = AskConfig(
        out=str(made / "pairs"), manifest=str(made / "m.jsonl"), tasks=str(made / "tasks.yaml"), model="rules",
        prompts="all", requests_per_utterance=5, most_utterances=2,
    )  # fmt: skip
    ask.STAGE.execute(asked)
    return made


def config(folder: Path, out: Path, **options: Any) -> BenchmarkConfig:
    defaults: dict[str, Any] = {
        "model": str(folder / "model"),
        "pairs": str(folder / "pairs"),
        "manifest": str(folder / "m.jsonl"),
        "tasks": str(folder / "tasks.yaml"),
        "conditions": ["transcript", "speech", "interleaved", "cascade"],
        "recogniser": str(folder / "model"),
    }
    return BenchmarkConfig(out=str(out), **(defaults | options))


def test_conditions_groups_and_resumption(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluation.judges import listening_recogniser

    monkeypatch.setattr(listening_recogniser, "TRANSCRIPT_TOKENS", 6)
    metrics = generalisation.STAGE.execute(config(folder, tmp_path / "whole"))
    for condition in ("transcript", "speech", "interleaved", "cascade"):
        for group in ("seen", "unseen_prompts", "unseen_tasks"):
            mean = metrics[f"{condition}.{group}"]
            assert 0 <= metrics[f"{condition}.{group}.low"] <= mean <= metrics[f"{condition}.{group}.high"] <= 1
            assert metrics[f"{condition}.{group}.worst_prompt"] <= mean
    gap = metrics["transcript.seen"] - metrics["speech.seen"]
    assert metrics["speech.seen.gap"] == pytest.approx(gap, abs=1e-6)
    answers = [json.loads(line) for line in (tmp_path / "whole" / "answered.jsonl").read_text().splitlines()]
    texts = {answer["name"]: answer["text"] for answer in answers}
    same = [
        texts[name] == texts[name.replace("speech", "transcript", 1)] for name in texts if name.startswith("speech ")
    ]
    assert not all(same)  # what is heard decides
    stamp = read_json(tmp_path / "whole" / "scores.json")["stamp"]
    assert stamp["recogniser"] and stamp["pairs"] and stamp["tasks"]
    table = (tmp_path / "whole" / "generalisation.md").read_text()
    assert "| cascade |" in table and "| last, unseen tasks |" in table
    assert (tmp_path / "whole" / "generalisation.png").stat().st_size > 5000

    # Killed after some answers, and with other batches, it ends with the same scores.
    (tmp_path / "again").mkdir()
    half = (tmp_path / "whole" / "answered.jsonl").read_bytes()
    (tmp_path / "again" / "answered.jsonl").write_bytes(half[: len(half) // 2])
    generalisation.STAGE.execute(config(folder, tmp_path / "again", batch_size=3))
    for name in ("scores.json", "generalisation.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_judge_rates_tasks_and_its_raw_replies_are_kept(folder: Path, tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> Reply:
        asked = body["messages"][-1]["content"]
        assert body["model"] == "judge" and body["n"] == 3 and "[Reference]" in asked and "last" in asked
        status, whole = message("I cannot say" if TEXTS[0] in asked else "Score: 4")
        return status, whole | {"choices": whole["choices"] * body["n"]}

    options: dict[str, Any] = {"conditions": ["transcript", "speech"], "recogniser": "", "judged": ["last"]}
    with chat_server(reply) as served:
        options |= {"judge": served.url, "judge_model": "judge", "requests": QUICK}
        metrics = generalisation.STAGE.execute(config(folder, tmp_path / "out", **options))
        count = len(served.asked)
        (tmp_path / "out" / "done.json").unlink()
        again = generalisation.STAGE.execute(config(folder, tmp_path / "out", **options))
        assert len(served.asked) == count and again == metrics
    assert metrics["unjudged"] > 0 and 0 < metrics["speech.unseen_tasks"] <= 0.75  # an empty answer has 0
    plain = generalisation.STAGE.execute(
        config(folder, tmp_path / "plain", conditions=["transcript", "speech"], recogniser="")
    )
    assert plain["speech.seen"] == metrics["speech.seen"]  # the other tasks are not judged
    kept = [json.loads(line) for line in (tmp_path / "out" / "judged.jsonl").read_text().splitlines()]
    assert len(kept) == count and {text for row in kept for text in row["texts"]} == {"I cannot say", "Score: 4"}
    stamp = read_json(tmp_path / "out" / "scores.json")["stamp"]
    assert stamp["judge"] == "judge" and stamp["judged"] == ["last"] and stamp["judge_prompt"]
    assert "judge" not in read_json(tmp_path / "plain" / "scores.json")["stamp"]


def test_a_task_with_metric_judge_needs_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tasks.yaml").write_text(TASKS.replace("metric: chrf", "metric: judge"))
    asked = AskConfig(
        out=str(tmp_path / "pairs"), manifest=str(folder / "m.jsonl"), tasks=str(tmp_path / "tasks.yaml"),
        model="rules", prompts="all", requests_per_utterance=5,
    )  # fmt: skip
    ask.STAGE.execute(asked)
    own = {"tasks": str(tmp_path / "tasks.yaml"), "pairs": str(tmp_path / "pairs"), "conditions": ["speech"]}
    with pytest.raises(UserError, match="metric judge of task last, and no judge"):
        generalisation.STAGE.execute(config(folder, tmp_path / "out", recogniser="", **own))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"conditions": ["spoken"], "recogniser": ""}, "conditions"),
        ({"recogniser": ""}, "recogniser"),
        ({"conditions": ["speech"]}, "recogniser"),
        ({"tasks": "closed_world"}, "where the pairs were asked with"),
        ({"model": "tests"}, "no speech input"),
        ({"judge": "http://localhost:1/v1"}, "judge_model"),
        ({"judged": ["last"]}, "judged"),
        ({"judge": "here", "judge_model": "x"}, "judge"),
        ({"judge": "http://localhost:1/v1", "judge_model": "x"}, "where no task is judged"),
        ({"judge": "http://localhost:1/v1", "judge_model": "x", "judged": ["lost"]}, "no task lost"),
    ],
)
def test_refusals(options: dict[str, Any], found: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        generalisation.STAGE.execute(config(folder, tmp_path, **options))
    assert found in str(refused.value)
