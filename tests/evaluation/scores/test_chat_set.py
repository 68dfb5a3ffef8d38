"""A chatbot in four directions in one go: the numbers of the single stages, kept through a kill, mistakes named."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from corpus.audio.files import encode_wav, read_audio
from evaluation import chat_set, score
from evaluation.answers.config import ScoreConfig
from evaluation.scores.chat_config import ChatSetConfig
from runtime.artefact import read_json
from runtime.chat_endpoint import RequestConfig
from runtime.errors import UserError
from tests.support.chat_server import Reply, chat_server, message

QUICK = RequestConfig(wait_seconds=0.001, retries=0, concurrency=1)
QUESTIONS = ("what is the capital of france", "what color is the sky")
SAID = {"paris": "the capital of france is paris", "blue": "the sky is blue"}


@pytest.fixture
def data(tmp_path: Path, spoken: dict[str, Path]) -> Path:
    """Two spoken questions, and the closed world of its judge."""
    rows = [
        {"id": key, "question": question, "answers": [key], "audio": str(spoken[question])}
        for key, question in zip(SAID, QUESTIONS, strict=True)
    ]
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "set.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "sentences.txt").write_text("\n".join(spoken))
    return tmp_path


def config(data: Path, url: str, out: str = "out", **options: Any) -> ChatSetConfig:
    defaults: dict[str, Any] = {"recogniser": str(data / "world"), "requests": QUICK, "benchmark": "trivia_qa"}
    return ChatSetConfig(out=str(data / out), data=str(data / "set"), model=url, **defaults | options)


def speaks(spoken: dict[str, Path], body: dict[str, Any]) -> Reply:
    """Typed questions are answered right in both media; spoken ones wrong in text, and always with Paris in speech."""
    asked = body["messages"][-1]["content"]
    key = "paris" if not isinstance(asked, str) or "france" in asked else "blue"
    sound = base64.b64encode(encode_wav(read_audio(spoken[SAID[key]]))).decode()
    text = SAID[key] if isinstance(asked, str) else "it is rome"
    return message(None, audio={"data": sound, "transcript": text, "id": "x"})


def test_four_directions_in_one_go(data: Path, spoken: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server(lambda body: speaks(spoken, body)) as served:
        metrics = chat_set.STAGE.execute(config(data, served.url))
    assert len(served.asked) == 4  # each question once in text and once in speech
    ways = {"t2t": 100, "t2s": 100, "s2t": 0, "s2s": 50}
    assert {way: metrics[f"{way}.contiguous.accuracy"] for way in ways} == ways
    assert metrics | {"items": 2, "failures": 0, "left_out": 0} == metrics
    table = (data / "out" / "scores.md").read_text()
    assert "| | T->T | S->T | T->S | S->S |" in table
    row = next(line for line in table.splitlines() if line.startswith("| contiguous.accuracy |"))
    assert row.startswith("| contiguous.accuracy | 100.00 (100.00 to 100.00) | 0.00 (0.00 to 0.00) | 100.00")
    assert row.endswith("| 50.00 (0.00 to 100.00) |") and "heard by closed world" in table
    assert "rule judge: not scored" in capsys.readouterr().out  # by name, never silently
    # The raw answers, scored again without the model.
    options = {"benchmark": "trivia_qa", "data": str(data / "set"), "answers": str(data / "out" / "spoken" / "answers")}
    score.STAGE.execute(ScoreConfig(out=str(data / "again"), **options))  # type: ignore[arg-type]
    for name in ("scores.json", "items.jsonl", "scores.md"):
        assert (data / "again" / name).read_bytes() == (data / "out" / "spoken" / "scores" / name).read_bytes()


def test_killed_while_it_asks_it_goes_on_with_the_same_bytes(data: Path, spoken: dict[str, Path]) -> None:
    def breaks(body: dict[str, Any]) -> Reply:
        return (401, {"error": "key"}) if len(served.asked) == 4 else speaks(spoken, body)

    with chat_server(breaks) as served:
        with pytest.raises(UserError, match="401"):
            chat_set.STAGE.execute(config(data, served.url))
        assert (data / "out" / "typed" / "answers" / "answers.json").exists()
        chat_set.STAGE.execute(config(data, served.url))  # the fourth question is the fifth request
        assert len(served.asked) == 5
        chat_set.STAGE.execute(config(data, served.url, "whole"))
    for medium in ("typed", "spoken"):
        for name in ("answers/answers.jsonl", "scores/scores.json", "scores/items.jsonl"):
            files = [data / out / medium / name for out in ("out", "whole")]
            assert files[0].read_bytes() == files[1].read_bytes(), name
    assert (data / "out" / "scores.md").read_bytes() == (data / "whole" / "scores.md").read_bytes()


def test_a_judge_scores_the_rules_that_need_one(data: Path) -> None:
    def both(body: dict[str, Any]) -> Reply:
        is_judge = "judgment" in str(body["messages"])
        return message('{"analysis": "a", "judgment": "correct"}' if is_judge else "It is Paris")

    with chat_server(both) as served:
        options = {"directions": ["t2t"], "recogniser": "", "judge_url": served.url, "judge_model": "j"}
        metrics = chat_set.STAGE.execute(config(data, served.url, **options))
    assert metrics["t2t.judge.accuracy"] == 100 and metrics["t2t.contiguous.accuracy"] == 50
    assert not (data / "out" / "spoken").exists()
    stamps = [one["stamp"] for one in read_json(data / "out" / "typed" / "scores" / "scores.json")["scores"]]
    assert {stamp["judge"] for stamp in stamps} == {"", "j"}


def test_options_that_cannot_work_are_named(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"option recogniser.*spoken replies"):
        config(data, "u", recogniser="")
    with pytest.raises(UserError, match=r"option cascade.*leave it out"):
        config(data, "u", directions=["t2t"], cascade=str(data / "world"))
    with pytest.raises(UserError, match="judge_url and judge_model together"):
        config(data, "u", judge_url="http://x/v1")
    with pytest.raises(UserError, match="each once"):
        config(data, "u", directions=["t2t", "t2t"])
    words = [f"out={data}/out", f"data={data}/set", "benchmark=trivia_qa", f"recogniser={data}/world"]
    assert chat_set.STAGE.main([*words, f"model={data}/nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
