"""GLM-4-Voice's appendix, OpenAudioBench and Big Bench Audio: layouts, and scores of judged answers by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import SAMPLE_RATE, write_audio
from runtime.errors import UserError
from tests.support.scored_set import answer_all, judge_all, read_benchmark, score_all, write_rows

RIGHT, WRONG = json.dumps({"analysis": "a", "judgment": "correct"}), json.dumps({"judgment": "incorrect"})


def test_general_qa_is_rated_from_1_to_10(tmp_path: Path) -> None:
    data = tmp_path / "set"
    write_rows(data / "general.jsonl", [{"id": name, "instruction": f"about {name}"} for name in "abc"])
    answers = answer_all("general_qa", data, tmp_path / "answers", ["one", "two", ""], ["one", "too", ""])
    judged = judge_all(
        "general_qa", data, tmp_path / "judged", {"a": ["Rating: [[7]]"], "b": ["[[4]]"]}, "single_answer"
    )
    metrics = score_all("general_qa", data, answers, tmp_path / "scores", judgements=str(judged))
    assert metrics["text.single_answer.rating"] == (7 + 4 + 1) / 3
    assert metrics["speech.asr_wer.wer"] == 0.5
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "| single_answer | S->T | rating | 4.00 |" in table
    assert "GLM-4-Voice | S->S | 5.4 | rating 1-10" in table and "5.74 | ASR-WER, %" in table


def test_knowledge_is_accuracy_times_ten(tmp_path: Path) -> None:
    data = tmp_path / "set"
    write_rows(data / "k.jsonl", [{"id": n, "question": f"q{n}", "answers": ["x"], "source": "web"} for n in range(4)])
    answers = answer_all("knowledge_qa", data, tmp_path / "answers", ["x", "y", "x", "z"])
    replies = {"web/0": [RIGHT], "web/1": [WRONG], "web/2": [RIGHT], "web/3": ["?"]}
    judged = judge_all("knowledge_qa", data, tmp_path / "judged", replies, "judge")
    score_all("knowledge_qa", data, answers, tmp_path / "scores", judgements=str(judged))
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "| judge | S->T | accuracy | 6.67 |" in table and "1 unreadable judgement" in table
    assert "| contiguous | S->T | accuracy | 5.00 |" in table


def test_open_audio_bench(tmp_path: Path) -> None:
    data = tmp_path / "set"
    (data / "llama_questions").mkdir(parents=True)
    with (data / "llama_questions" / "test.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Questions", "Answer"], ["who", "ann"], ["where", "rome"]])
    write_rows(data / "web_questions.jsonl", [{"question": "w", "answers": ["x"]}])
    write_rows(data / "trivia_qa.jsonl", [{"question": "t", "answers": ["x"]}])
    write_rows(data / "reasoning_qa.jsonl", [{"question": "r", "answer": "x"}])
    write_rows(data / "alpaca_eval.jsonl", [{"instruction": "a"}])
    name = "open_audio_bench"
    items = read_benchmark(name, data).items
    of = {item.subset: item.id for item in items}
    assert len(items) == 6 and set(of) == {
        "llama_questions", "web_questions", "trivia_qa", "reasoning_qa", "alpaca_eval",
    }  # fmt: skip
    answers = answer_all(name, data, tmp_path / "answers", ["an answer"] * 6)
    judged = tmp_path / "judged"
    llama = [item.id for item in items if item.subset == "llama_questions"]
    judge_all(
        name, data, judged, {llama[0]: ["the score is [Correct]"], llama[1]: ["the score is [Incorrect]"]}, "score_is"
    )
    judge_all(name, data, judged, {of["web_questions"]: [RIGHT], of["trivia_qa"]: [WRONG]}, "judge")
    judge_all(name, data, judged, {of["reasoning_qa"]: ["[[4]]"]}, "reasoning")
    judge_all(name, data, judged, {of["alpaca_eval"]: ["Rating: [[6]]"]}, "alpaca")
    metrics = score_all(name, data, answers, tmp_path / "scores", judgements=str(judged))
    assert metrics["text.mean of five"] == pytest.approx((50 + 100 + 0 + 80 + 60) / 5)


def test_big_bench_audio(tmp_path: Path) -> None:
    data = tmp_path / "set"
    rows = [
        {"id": 0, "category": "formal_fallacies", "official_answer": "invalid", "file_name": "a.wav"},
        {"id": 1, "category": "object_counting", "official_answer": "7", "file_name": "a.wav"},
        {"id": 2, "category": "web of lies", "official_answer": "Yes", "file_name": "a.wav"},
        {"id": 3, "category": "navigate", "official_answer": "No", "file_name": "a.wav", "transcript": "Walk."},
    ]
    write_rows(data / "metadata.jsonl", rows)
    write_audio(data / "a.wav", np.full(SAMPLE_RATE, 0.1, np.float32))
    name = "big_bench_audio"
    found = read_benchmark(name, data, needs_audio=True)
    assert [item.prompt for item in found.items][2:] == ["(web of lies, spoken)", "Walk."]
    said = ["The argument is invalid.", "There are eight", "Yes, she tells the truth", "You do not return to the start"]
    answers = answer_all(name, data, tmp_path / "answers", said)
    verdicts = {item.id: ['{"result": "CORRECT"}'] for item in found.items[:3]}
    judged = judge_all(name, data, tmp_path / "judged", verdicts, "result")
    metrics = score_all(name, data, answers, tmp_path / "scores", judgements=str(judged))
    assert (metrics["text.stated_answer.accuracy"], metrics["text.result.accuracy"]) == (0.75, 1)


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("open_audio_bench", {"question": "q", "answers": ["x"]}, "named after none of reasoning_qa"),
        ("big_bench_audio", {"category": "dates", "official_answer": "x"}, "none of the four tasks"),
        ("big_bench_audio", {"category": "navigate"}, "no column official_answer"),
        ("knowledge_qa", {"question": "q"}, "no text in answers"),
        ("general_qa", {"text": " "}, "text is ' '"),
        ("speech_mmlu", {"question_text": "q", "subject": "s", "answer": 7}, "neither 0 to 3 nor A to D"),
        ("speech_mmlu", {"question_text": "q", "answer": 1}, "no column subject"),
        ("uro_bench", {"source_text": "q", "mode": "loud"}, "mode is 'loud'"),
        ("uro_bench", {"source_text": "q", "mode": "qa"}, "no target_text"),
    ],
)
def test_bad_rows(tmp_path: Path, name: str, row: dict[str, object], reason: str) -> None:
    write_rows(tmp_path / "rows.jsonl", [row])
    with pytest.raises(UserError, match=reason):
        read_benchmark(name, tmp_path)
