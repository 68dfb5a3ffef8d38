"""Scores of made-up answers to a made-up set, through the commands and without a model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation import score
from evaluation.answers.answer_file import AnswerHeader, ModelAnswer, write_answers
from evaluation.answers.config import ScoreConfig
from evaluation.answers.judgements import JOURNAL, request_name
from evaluation.answers.judging import HEADER
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.sets.item import EvaluationSet
from evaluation.sets.reading import read_set
from runtime.artefact import write_json


def write_rows(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def read_benchmark(name: str, data: Path, **options: Any) -> EvaluationSet:
    return read_set(name, data, BENCHMARKS[name].read_item, **options)


def answer_all(name: str, data: Path, folder: Path, answers: Sequence[str], spoken: Sequence[str] = ()) -> Path:
    """Answers to all items, in their order; with transcripts of speech where ``spoken`` gives some."""
    found = read_benchmark(name, data)
    header = AnswerHeader(
        benchmark=name,
        data=str(data),
        set_digest=found.digest,
        items=len(found.items),
        left_out=0,
        repeated=len(found.repeated),
        model="made-up",
        model_digest="0",
        direction="s2s" if spoken else "s2t",
        settings={},
    )
    heard = list(spoken) or [None] * len(answers)
    lines = [
        ModelAnswer(id=item.id, text=text, transcript=transcript)
        for item, text, transcript in zip(found.items, answers, heard, strict=True)
    ]
    write_answers(folder, header, lines)
    return folder


def judge_all(name: str, data: Path, folder: Path, replies: Mapping[str, Sequence[str]], rule: str) -> Path:
    """Judgements of a rule, by item."""
    found, chosen = read_benchmark(name, data), BENCHMARKS[name].rule(rule)
    records = [
        {"name": request_name(item, chosen, "text"), "texts": list(replies[item.id])}
        for item in found.items
        if item.id in replies
    ]
    with_tokens = [record | {"prompt_tokens": 0, "completion_tokens": 0} for record in records]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / JOURNAL).open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in with_tokens)
    write_json(folder / HEADER, {"model": "judge-of-the-test"})
    return folder


def score_all(name: str, data: Path, answers: Path, out: Path, **options: Any) -> dict[str, Any]:
    return score.STAGE.execute(
        ScoreConfig(out=str(out), benchmark=name, data=str(data), answers=str(answers), **options)
    )
