"""SpeechInstructBench: its layout, hand-computed scores of all three tasks, duplicates, and the official files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evaluation import export
from evaluation.answers.config import OfficialFilesConfig
from evaluation.benchmarks.speech_instruct_bench import SPEECH_INSTRUCT_BENCH
from evaluation.rules.decomposed import ADJUSTMENT, DECOMPOSED
from evaluation.rules.rule import Answered, Compat
from evaluation.sets.item import EvaluationItem
from runtime.errors import UserError
from tests.support.scored_set import answer_all, judge_all, read_benchmark, score_all, write_rows

NAME = "speech_instruct_bench"


def closed(prompt: str, *instructions: tuple[str, dict[str, Any]], key: int = 1) -> dict[str, Any]:
    ids, kwargs = [id_ for id_, _ in instructions], [values for _, values in instructions]
    return {"key": key, "prompt": prompt, "instruction_id_list": ids, "kwargs": kwargs}


NO_COMMA, QUOTED = ("punctuation:no_comma", {}), ("startend:quotation", {})


def write_set(folder: Path) -> Path:
    write_rows(folder / "closed_standard_en.jsonl", [closed("one", NO_COMMA), closed("two", NO_COMMA, QUOTED)])
    write_rows(folder / "closed_disfluency_cn.jsonl", [closed("三", NO_COMMA)])
    write_rows(folder / "open_ended_en.jsonl", [{"prompt": "tell", "decomposed_questions": ["Is it a?", "Is it b?"]}])
    write_rows(folder / "adjustment_en.jsonl", [{"prompt": "do a, no, b"}])
    return folder


def test_the_layout_and_all_scores(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set")
    found = read_benchmark(NAME, data)
    subsets = ["adjustment_en", "closed_disfluency_cn", "closed_standard_en", "closed_standard_en", "open_ended_en"]
    assert [item.subset for item in found.items] == subsets
    answers = answer_all(NAME, data, tmp_path / "answers", ["b", "一，二", "fine", "also fine", "a and b"])
    ids = [item.id for item in found.items]
    judged = judge_all(NAME, data, tmp_path / "judged", {ids[4]: ["[YES, NO]"] * 3 + ["[NO, YES]"]}, "open")
    verdict = {"follow_after_adjust": "YES", "follow_before_adjust": "NO", "after_adjust_content_correct": "YES"}
    judge_all(NAME, data, judged, {ids[0]: [json.dumps(verdict)] * 4}, "adjustment")
    metrics = score_all(NAME, data, answers, tmp_path / "scores", judgements=str(judged))
    assert metrics["text.instructions.P"] == pytest.approx(1 / 3, abs=1e-6)
    assert metrics["text.instructions.I"] == pytest.approx(2 / 4)
    assert (metrics["text.open.P"], metrics["text.open.I"]) == (0, 0.5)
    assert (metrics["text.adjustment.IAR"], metrics["text.adjustment.ECR"]) == (1, 0)
    assert (metrics["items"], metrics["failures"]) == (5, 0)
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "| instructions | S->T | P | closed_standard_en | 50.00 |" in table
    assert "| instructions | S->T | P | closed_disfluency_cn | 0.00 |" in table
    assert "InSerter | S->T | 39.75 | closed standard P en" in table
    again = score_all(NAME, data, answers, tmp_path / "again", judgements=str(judged))
    assert again == metrics
    for file in ("scores.json", "items.jsonl", "scores.md"):
        assert (tmp_path / "scores" / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_duplicate_prompts_collapse_in_the_official_score_only(tmp_path: Path) -> None:
    rows = [closed("same", NO_COMMA, key=1), closed("same", NO_COMMA, key=2), closed("other", NO_COMMA, key=3)]
    write_rows(tmp_path / "set" / "closed_accent_en.jsonl", rows)
    answers = answer_all(NAME, tmp_path / "set", tmp_path / "answers", ["fine", "one, two", "fine"])
    metrics = score_all(NAME, tmp_path / "set", answers, tmp_path / "scores")
    assert metrics["text.instructions.P"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["text.instructions.P.official"] == pytest.approx(1 / 3, abs=1e-6)
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "1 answer of another item with this prompt" in table


def test_the_official_files_have_their_rows_and_answers(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set")
    answers = answer_all(NAME, data, tmp_path / "answers", ["b", "一", "fine", "good", "a"])
    options = {"benchmark": NAME, "data": str(data), "answers": str(answers)}
    made = export.STAGE.execute(OfficialFilesConfig(out=str(tmp_path / "official"), **options))
    assert made == {"files": 4, "rows": 5, "without_answer": 0}
    lines = (tmp_path / "official" / "files" / "closed_standard_en.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == closed("two", NO_COMMA, QUOTED) | {"response": "good"}
    with pytest.raises(UserError, match="option medium"):
        export.STAGE.execute(OfficialFilesConfig(out=str(tmp_path / "other"), medium="speech", **options))


@pytest.mark.parametrize(
    ("file", "row", "reason"),
    [
        ("closed_standard_en", closed("x", ("punctuation:no_coma", {})), "near: punctuation:no_comma"),
        ("closed_standard_en", {"prompt": "x", "instruction_id_list": ["a"], "kwargs": []}, "no list of 1 sets"),
        ("closed_standard_en", {"prompt": "x", "instruction_id_list": 3, "kwargs": []}, "no list of ids"),
        ("closed_en", closed("x", NO_COMMA), "standard, background"),
        ("other", {"prompt": "x"}, "neither instruction_id_list nor"),
        ("open_ended_en", {"prompt": "x", "decomposed_questions": []}, "no text in decomposed_questions"),
        ("adjustment_en", {"prompt": ""}, "prompt is ''"),
    ],
)
def test_bad_rows(tmp_path: Path, file: str, row: dict[str, Any], reason: str) -> None:
    write_rows(tmp_path / "set" / f"{file}.jsonl", [row])
    with pytest.raises(UserError, match=reason):
        read_benchmark(NAME, tmp_path / "set")


def test_nulls_of_a_table_are_no_arguments(tmp_path: Path) -> None:
    row = closed("x", ("length_constraints:number_words", {"num_words": 2.0, "relation": "at least", "letter": None}))
    write_rows(tmp_path / "closed_emotion_zh.jsonl", [row])
    (item,) = read_benchmark(NAME, tmp_path).items
    assert item.subset == "closed_paralinguistics_cn"
    assert item.details["instructions"][0][1] == {"num_words": 2.0, "relation": "at least"}


QUESTIONS = EvaluationItem(id="a", prompt="p", details={"decomposed_questions": ["1", "2", "3"]})


@pytest.mark.parametrize(
    ("replies", "compat", "p", "i", "note"),
    [
        (["[YES, YES, YES]"] * 4, "default", 1, 3 / 3, ""),
        (["['YES', 'NO', 'YES']"] * 4, "default", 0, 2 / 3, ""),
        (["[yes, no, Yes]"], "default", 0, 2 / 3, ""),
        (['```json\n["YES", "YES", "NO"]\n```'], "default", 0, 2 / 3, ""),
        (["[YES, YES, YES]", "[NO, NO, YES]", "[NO, YES, YES]", "[YES, YES, NO]"], "default", 1, 1, ""),  # tie: first
        (["[NO, YES, YES]", "[YES, YES, YES]"], "default", 0, 2 / 3, ""),
        (["[YES, YES]", "[NO, NO, NO]"], "default", 0, 0, ""),  # the longest list counts
        (["[YES, YES]"], "default", None, None, "unreadable judgement"),
        (["[YES, YES]"], "official", 1, 1, ""),  # whatever the number of questions
        (["[YES, YES, YES, NO]", "[YES, YES, YES]"], "official", 0, 3 / 4, ""),
        (["YES YES YES"], "default", None, None, "unreadable judgement"),
        (["I cannot."], "official", None, None, "unreadable judgement"),
        ([], "default", None, None, "no judgement"),
    ],
)
def test_decomposed_questions(replies: list[str], compat: Compat, p: float | None, i: float | None, note: str) -> None:
    score = DECOMPOSED.score(QUESTIONS, Answered("an answer", tuple(replies), compat))
    found = {name: measure.total / measure.weight for name, measure in score.measures.items()}
    assert found == ({} if p is None else {"P": p, "I": i}) and score.note == note


def verdicts(after: str, before: str, content: str) -> str:
    names = ("follow_after_adjust", "follow_before_adjust", "after_adjust_content_correct")
    return json.dumps(dict(zip(names, (after, before, content), strict=True)))


@pytest.mark.parametrize(
    ("replies", "iar", "ecr", "note"),
    [
        ([verdicts("YES", "NO", "YES")] * 4, 1, 0, ""),
        ([verdicts("YES", "NO", "NO")] * 4, 0, 0, ""),  # followed, with wrong content
        ([verdicts("NO", "YES", "YES")] * 4, 0, 1, ""),
        ([verdicts("YES", "YES", "YES")] * 4, 1, 1, ""),
        ([verdicts("yes", "no", "Yes")], 1, 0, ""),
        ([verdicts("YES", "NO", "YES")] * 3 + [verdicts("NO", "YES", "NO")], 1, 0, ""),
        ([verdicts("NO", "YES", "NO")] * 3 + [verdicts("YES", "NO", "YES")], 0, 1, ""),
        ([verdicts("YES", "NO", "YES"), verdicts("NO", "NO", "NO")], 1, 0, ""),  # a tie: the first
        (["nonsense", verdicts("NO", "NO", "NO")], 0, 0, ""),
        (["nonsense"] * 4, None, None, "unreadable judgement"),
        ([verdicts("YES", "perhaps", "YES")], None, None, "unreadable judgement"),
        ([json.dumps({"follow_after_adjust": "YES"})], None, None, "unreadable judgement"),
        ([], None, None, "no judgement"),
    ],
)
def test_adjustment(replies: list[str], iar: float | None, ecr: float | None, note: str) -> None:
    score = ADJUSTMENT.score(EvaluationItem(id="a", prompt="p"), Answered("an answer", tuple(replies)))
    found = {name: measure.total for name, measure in score.measures.items()}
    assert found == ({} if iar is None else {"IAR": iar, "ECR": ecr}) and score.note == note


def test_empty_answers_follow_nothing() -> None:
    assert DECOMPOSED.score(QUESTIONS, Answered(" ")).measures == {"P": (0, 1), "I": (0, 3)}
    assert ADJUSTMENT.score(EvaluationItem(id="a", prompt="p"), Answered("")).measures == {"IAR": (0, 1), "ECR": (0, 1)}


def test_prompts_hold_their_fields() -> None:
    assert DECOMPOSED.judge is not None and ADJUSTMENT.judge is not None
    system, user = DECOMPOSED.judge.messages(QUESTIONS, "{questions} [YES]")
    assert (
        system["role"] == "system" and "1. 1\n2. 2\n3. 3" in user["content"] and "{questions} [YES]" in user["content"]
    )
    assert "list of 3 entries" in user["content"]
    assert '{"follow_after_adjust": "YES" or "NO"' in ADJUSTMENT.judge.messages(QUESTIONS, "x")[-1]["content"]
    assert DECOMPOSED.judge.parameters == {"temperature": 0.5, "top_p": 0.95, "n": 4, "max_tokens": 1024}


def test_the_published_table() -> None:
    rows = {(one.model, one.column): one.value for one in SPEECH_INSTRUCT_BENCH.published}
    assert len(rows) == 13 * 14
    assert rows["InSerter", "closed disfluency I en"] == 47.28 and rows["GLM-4-Voice", "adjustment ECR cn"] == 13.15
