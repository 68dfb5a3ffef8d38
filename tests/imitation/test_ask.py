"""Answers of a text model about transcripts: by rules, by a served model, by an exported one; balanced, resumed."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from imitation import ask
from imitation.ask_config import AskConfig
from imitation.asking import plan_requests
from imitation.pairs import read_pairs
from imitation.tasks.task_file import read_tasks
from runtime.artefact import read_json
from runtime.chat_endpoint import RequestConfig
from runtime.errors import UserError
from tests.support.chat_server import Reply, chat_server, message
from tests.support.small_speech_model import save_small_model

QUICK = RequestConfig(wait_seconds=0.001, retries=0, max_failed_share=1.0, concurrency=2)
NAMES = ("anna", "tom", "lucy", "peter")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    texts = [f"{NAMES[number % 4]} has {number} cups" for number in range(40)]
    rows = [
        {"id": f"u{number}", "audio_filepath": f"{number}.wav", "duration": 1.0, "text": text}
        for number, text in enumerate(texts)
    ]
    rows.append({"id": "torn", "audio_filepath": "x.wav", "duration": 1.0, "text": ""})
    (tmp_path / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "m.jsonl"


def config(manifest: Path, out: str = "pairs", **options: Any) -> AskConfig:
    defaults: dict[str, Any] = {"tasks": "closed_world", "model": "rules", "max_bad_share": 0.1, "requests": QUICK}
    return AskConfig(out=str(manifest.parent / out), manifest=str(manifest), **(defaults | options))


def test_rules_answer_seen_prompts(manifest: Path) -> None:
    metrics = ask.STAGE.execute(config(manifest, requests_per_utterance=3))
    found = read_pairs(manifest.parent / "pairs")
    assert metrics["pairs"] == len(found.pairs) == 120 and metrics["bad_records"] == 1
    assert all(pair.is_seen for pair in found.pairs)
    assert {pair.task for pair in found.pairs} == {
        "repeat", "first_word", "people", "numbers", "is_question", "word_count"
    }  # fmt: skip
    people = [pair for pair in found.pairs if pair.task == "people"]
    assert all(pair.response == pair.content.split()[0] for pair in people)
    assert {metrics[f"agrees.{pair.task}"] for pair in found.pairs} == {1.0}


def test_only_some_tasks(manifest: Path) -> None:
    metrics = ask.STAGE.execute(config(manifest, only=["repeat", "people"], requests_per_utterance=2))
    assert metrics["pairs.repeat"] == metrics["pairs.people"] == 40 == metrics["pairs"] / 2


def test_requests_about_several_utterances(manifest: Path) -> None:
    ask.STAGE.execute(config(manifest, most_utterances=3, requests_per_utterance=4))
    pairs = read_pairs(manifest.parent / "pairs").pairs
    texts = {f"u{number}": f"{NAMES[number % 4]} has {number} cups" for number in range(40)}
    assert all(pair.transcripts == tuple(texts[one] for one in pair.utterances) for pair in pairs)
    counts = Counter(len(pair.utterances) for pair in pairs)
    assert set(counts) == {1, 2, 3} and min(counts.values()) > 30
    numbers = [pair for pair in pairs if pair.task == "word_count"]
    assert all(pair.response == str(4 * len(pair.utterances)) for pair in numbers)


@pytest.mark.parametrize("per_utterance", [1, 2, 7])
def test_requests_follow_the_weights_of_the_tasks(per_utterance: int, manifest: Path) -> None:
    from corpus.manifest import read_manifest

    utterances = read_manifest(manifest, 0.1, should_check_audio=False).utterances
    tasks = read_tasks("content")
    made = config(manifest, tasks="content", requests_per_utterance=per_utterance)
    requests = list(plan_requests(utterances, tasks, made))
    assert len({request.name for request in requests}) == len(requests) == 40 * per_utterance
    counts = Counter(request.task.name for request in requests)
    trained = [task for task in tasks.tasks.values() if not task.is_heldout]
    for task in trained:
        share = task.weight / sum(one.weight for one in trained)
        assert abs(counts[task.name] - share * len(requests)) <= 1.5
    assert [one.name for one in plan_requests(utterances, tasks, made)] == [one.name for one in requests]


def test_a_served_model_is_asked_once_for_each_and_failures_again(manifest: Path) -> None:
    broken = {"is_broken": True}

    def reply(body: dict[str, Any]) -> Reply:
        text = body["messages"][-1]["content"]
        assert body["messages"][0] == {"role": "system", "content": "be short"}
        assert "{speech}" not in text and " has " in text and body["max_completion_tokens"] == 64
        if "lucy" in text and broken["is_broken"]:
            return 400, {"error": {"code": "lucy"}}
        status, answer = message(f" answer to {text} ")
        if "tom has 1 " in text:
            answer["choices"][0]["finish_reason"] = "length"
        return status, answer

    with chat_server(reply) as served:
        options: dict[str, Any] = {"model": served.url, "system": "be short"}
        first = ask.STAGE.execute(config(manifest, **options))
        assert first["failures"] == 10 and first["cut"] == 1 and first["pairs"] == 29 and len(served.asked) == 40
        (manifest.parent / "pairs" / "done.json").unlink()  # a run that was killed at its end
        broken["is_broken"] = False
        again = ask.STAGE.execute(config(manifest, **options))
        assert again["failures"] == 0 and again["pairs"] == 39 and len(served.asked) == 50
        ask.STAGE.execute(config(manifest, "whole", **options))
    lines = [(manifest.parent / name / "pairs.jsonl").read_bytes() for name in ("pairs", "whole")]
    assert lines[0] == lines[1]
    found = read_pairs(manifest.parent / "pairs")
    assert found.header.model == "model-of-the-test" and found.header.system == "be short"
    assert all(pair.response == "answer to " + pair.text.replace("{speech}", pair.content) for pair in found.pairs)


def test_too_many_failures_and_too_many_cut_answers_end_the_run(manifest: Path) -> None:
    with chat_server(lambda body: (400, {"error": {"code": "no"}})) as served:
        strict = RequestConfig(wait_seconds=0.001, retries=0, max_failed_share=0.5)
        with pytest.raises(UserError, match="requests have no answer"):
            ask.STAGE.execute(config(manifest, model=served.url, requests=strict))
    assert not (manifest.parent / "pairs" / "pairs.json").exists()

    def cut(body: dict[str, Any]) -> Reply:
        status, answer = message("never ends")
        answer["choices"][0]["finish_reason"] = "length"
        return status, answer

    with chat_server(cut) as served, pytest.raises(UserError, match="40 of 40 answers were cut"):
        ask.STAGE.execute(config(manifest, "cut", model=served.url))


def test_an_exported_model_answers_the_same_in_any_batch(manifest: Path) -> None:
    small = save_small_model(manifest.parent / "small")
    short = {"tasks": {"say": {"metric": "wer", "prompts": ["say", "repeat"], "max_new_tokens": 3}}}
    (manifest.parent / "short.yaml").write_text(yaml.safe_dump(short))
    options: dict[str, Any] = {"model": str(small.folder), "max_cut_share": 1.0, "limit": 12}
    options |= {"tasks": str(manifest.parent / "short.yaml"), "temperature": 2.0}
    for batch_size in (1, 7):
        metrics = ask.STAGE.execute(config(manifest, f"batch{batch_size}", batch_size=batch_size, **options))
        assert metrics["requests"] == 12
    asked = [(manifest.parent / f"batch{size}" / "asked.jsonl").read_bytes() for size in (1, 7)]
    assert asked[0] == asked[1]
    assert read_json(manifest.parent / "batch1" / "pairs.json")["model"] == "model"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"model": "nowhere"}, "no such file or folder"),
        ({"tasks": "nothing.yaml"}, "no such file"),
        ({"kinds": ["song"]}, "no utterance of the kinds song"),
        ({"requests_per_utterance": 19}, "19 of 18 prompts"),
        ({"requests_per_utterance": 4, "only": ["repeat"]}, "4 of 3 prompts"),
        ({"only": ["colors"]}, "no task colors that has prompts=seen"),
    ],
)
def test_refusals(options: dict[str, Any], found: str, manifest: Path) -> None:
    with pytest.raises(UserError) as refused:
        ask.STAGE.execute(config(manifest, **options))
    assert found in str(refused.value)
