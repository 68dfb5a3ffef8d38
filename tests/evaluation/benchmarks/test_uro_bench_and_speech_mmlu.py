"""URO-Bench: modes of sets and their scores by hand; SpeechMMLU: references, options, worked examples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation import export
from evaluation.answers.config import OfficialFilesConfig
from evaluation.answers.worked_examples import choose_worked_examples
from evaluation.rules.measure import score_set
from evaluation.rules.repetition import REPETITION
from evaluation.rules.rule import Answered
from evaluation.sets.item import EvaluationItem
from tests.support.scored_set import answer_all, judge_all, read_benchmark, score_all, write_rows

URO = "uro_bench"


def write_uro(folder: Path) -> Path:
    write_rows(folder / "AlpacaEval" / "test.jsonl", [{"source_text": "say"}, {"source_text": "so"}])
    write_rows(folder / "Summary" / "test.jsonl", [{"source_text": "sum", "target_text": ["a", "b"]}])
    write_rows(folder / "Gsm8kEval" / "test.jsonl", [{"source_text": "1+1", "target_text": "2"}])
    write_rows(folder / "Repeat-zh.jsonl", [{"source_text": "说", "target_text": "你好世界"}])
    write_rows(folder / "qa" / "Own.jsonl", [{"source_text": "x", "target_text": "y"}])
    write_rows(folder / "SRT.jsonl", [{"source_text": "sing", "mode": "srt"}])
    return folder


def test_modes_and_the_mean_over_sets(tmp_path: Path) -> None:
    data = write_uro(tmp_path / "set")
    items = read_benchmark(URO, data).items
    modes = {item.subset: item.details["mode"] for item in items}
    assert modes == {
        "AlpacaEval": "open", "Summary": "semi-open", "Gsm8kEval": "qa", "Repeat-zh": "wer", "Own": "qa", "SRT": "srt",
    }  # fmt: skip
    answers = answer_all(
        URO, data, tmp_path / "answers", ["你好世间" if one.subset == "Repeat-zh" else "a" for one in items]
    )
    by_set = {item.subset: item.id for item in items}
    ratings = {item.id: ["4", "4", "4"] for item in items}
    judged = judge_all(URO, data, tmp_path / "judged", ratings, "open")
    judge_all(URO, data, judged, {by_set["Summary"]: ["2", "3", "4"]}, "semi_open")
    judge_all(URO, data, judged, {by_set["Own"]: ["Yes"] * 3, by_set["Gsm8kEval"]: ["No"] * 3}, "qa")
    metrics = score_all(URO, data, answers, tmp_path / "scores", judgements=str(judged))
    assert metrics["text.repeat.score"] == 0.75
    assert metrics["text.mean of 5 sets"] == pytest.approx((80 + 60 + 0 + 75 + 100) / 5)


@pytest.mark.parametrize("medium", ["text", "speech"])
def test_the_official_files_have_a_line_for_each_number(tmp_path: Path, medium: str) -> None:
    """Those that ``mark.py`` reads: --question, --reference, --answer (what was heard), --answer_text."""
    data = write_uro(tmp_path / "set")
    spoken = list("ABCDEFG") if medium == "speech" else []
    answers = answer_all(URO, data, tmp_path / "answers", list("abcdefg"), spoken)
    options = {"out": str(tmp_path / "out"), "benchmark": URO, "data": str(data), "answers": str(answers)}
    made = export.STAGE.execute(OfficialFilesConfig(**options, medium=medium))

    def lines(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (tmp_path / "out" / "files" / f"{name}.jsonl").read_text().splitlines()]

    assert lines("AlpacaEval/pred_text") == [{"0000": "a"}, {"0001": "b"}]
    assert lines("AlpacaEval/question_text") == [{"0000": "say"}, {"0001": "so"}]
    assert lines("Summary/gt_text") == [{"0000": "a / b"}]
    assert not (tmp_path / "out" / "files" / "AlpacaEval" / "gt_text.jsonl").exists(), "it has no references"
    heard = tmp_path / "out" / "files" / "AlpacaEval" / "asr_text.jsonl"
    assert lines("AlpacaEval/asr_text") == [{"0000": "A"}, {"0001": "B"}] if spoken else not heard.exists()
    assert made["rows"] == 7 and made["without_answer"] == 0


@pytest.mark.parametrize(
    ("target", "said", "ok", "rate"),
    [
        ("one two three four", "one two three four", 1, 0),
        ("one two three four", "One, two, three, four!", 1, 0),
        ("red blue green cat", "red blue green dog", 1, 0.25),
        ("red blue green cat", "red blue", 1, 0.5),  # 0.5 is right enough
        ("red blue green cat", "red", 0, None),
        ("red blue", "", 0, None),
        ("red", "red blue green", 0, None),
        ("red blue", "red blue blue", 1, 0.5),
        ("你好世界", "你好，世界。", 1, 0),
        ("你好世界", "你好", 1, 0.5),
        ("你好世界", "再见", 0, None),
        ("the colour", "the color", 1, 0),
    ],
)
def test_hand_computed_repetitions(target: str, said: str, ok: float, rate: float | None) -> None:
    score = REPETITION.score(EvaluationItem(id="a", prompt="p", references=(target,)), Answered(said))
    found = {name: measure.total for name, measure in score.measures.items()}
    assert found == {"ok_rate": ok} | ({} if rate is None else {"rate_of_ok": rate})


def test_the_score_of_a_set_of_repetitions() -> None:
    said = ["red blue green cat", "red blue green dog", "red", ""]
    item = EvaluationItem(id="a", prompt="p", references=("red blue green cat",))
    found = score_set([("", REPETITION.score(item, Answered(text))) for text in said], REPETITION.combine)
    assert found.combined == {"score": pytest.approx(0.5 * (1 - 0.125))}
    nothing = score_set([("", REPETITION.score(item, Answered("")))], REPETITION.combine)
    assert nothing.combined == {"score": 0}


def test_speech_mmlu_rows_answers_and_shots(tmp_path: Path) -> None:
    rows = [
        {"id": n, "subject": subject, "question_text": text, "answer": answer}
        for n, (subject, text, answer) in enumerate([("law", "q one", 1), ("law", "q two", "C"), ("math", "问题", "0")])
    ]
    write_rows(tmp_path / "set" / "en.jsonl", rows)
    (tmp_path / "set" / "few_shot_prompts.json").write_text('{\n "law": []\n}')
    items = read_benchmark("speech_mmlu", tmp_path / "set").items
    assert [(item.subset, item.references) for item in items] == [
        ("law", ("Option B",)), ("law", ("Option C",)), ("math", ("Option A",)),
    ]  # fmt: skip
    shots = choose_worked_examples(items, (), 3, 1, "set", of="set")
    assert {shot.answer for shot in shots.of(items[0])} == {"Option A", "Option B", "Option C"}
    by_subject = choose_worked_examples(items, (replace(items[2], prompt="another"),), 1, 1, "set", of="subset")
    assert [shot.answer for shot in by_subject.of(items[2])] == ["Option A"] and by_subject.of(items[0]) == ()
    answers = answer_all("speech_mmlu", tmp_path / "set", tmp_path / "answers", ["Option B", "C", "选项A"])
    metrics = score_all("speech_mmlu", tmp_path / "set", answers, tmp_path / "scores")
    assert metrics["text.option.accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["text.mcq.accuracy"] == 1
