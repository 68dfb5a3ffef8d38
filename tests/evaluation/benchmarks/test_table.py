"""All benchmarks: named in the manual, prompts filled in, and scores that depend on no order and no repetition."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from evaluation.benchmarks.table import BENCHMARKS
from runtime.artefact import read_json
from tests.support.scored_set import answer_all, read_benchmark, score_all, write_rows

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


def test_the_manual_names_every_benchmark_and_its_rules() -> None:
    text = MANUAL.read_text(encoding="utf-8")
    for name, benchmark in BENCHMARKS.items():
        assert f"`{name}`" in text
        for rule in benchmark.rules:
            assert f"`{rule.name}`" in text, f"{name}: {rule.name}"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_rules_have_names_of_their_own_and_fields_for_their_prompts(name: str) -> None:
    names = [rule.name for rule in BENCHMARKS[name].rules]
    assert len(names) == len(set(names))
    for rule in BENCHMARKS[name].rules:
        if rule.judge is not None:
            assert rule.judge.parameters["max_tokens"] >= 256 and rule.judge.template.count("{") >= 2


WORDS = ("Option B", "the answer is C", "fine", "one, two", "", "Yes", "I can't", "<<A>>", "paris")
# Rows with ids of their own, so that an answer stays with its item wherever the row stands.
SETS: dict[str, list[dict[str, Any]]] = {
    "speech_mmlu": [
        {"id": n, "subject": "lm"[n % 2], "question_text": f"q {n}\nA. x\nB. y", "answer": n % 4} for n in range(24)
    ],
    "trivia_qa": [{"id": n, "question": f"q {n}", "answers": ["paris", "fine"]} for n in range(24)],
}


def scores_of(name: str, rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """The scores, without the digest of the set."""
    write_rows(folder / "set" / "rows.jsonl", rows)
    items = read_benchmark(name, folder / "set").items
    said = [WORDS[int(item.id.rpartition("/")[2]) % len(WORDS)] for item in items]
    answers = answer_all(name, folder / "set", folder / "answers", said)
    score_all(name, folder / "set", answers, folder / "scores")
    return [one["score"] for one in read_json(folder / "scores" / "scores.json")["scores"]]


@pytest.mark.parametrize("name", SETS)
def test_the_order_of_rows_changes_no_score(name: str, tmp_path: Path) -> None:
    shuffled = random.Random(4).sample(SETS[name], len(SETS[name]))
    assert shuffled != SETS[name]
    found = scores_of(name, SETS[name], tmp_path / "a")
    assert found == scores_of(name, shuffled, tmp_path / "b")
    assert any(0 < one["means"]["accuracy"]["micro"] < 1 for one in found)


@pytest.mark.parametrize("name", SETS)
def test_items_twice_keep_the_means(name: str, tmp_path: Path) -> None:
    """Twice with ids that end alike: 9 words, and 24 more is no multiple of 9, hence 27."""
    rows = (SETS[name] * 2)[:27]
    once = [row | {"id": number} for number, row in enumerate(rows)]
    again = once + [row | {"id": number + 27} for number, row in enumerate(rows)]
    means = [
        [
            {measure: (mean["micro"], mean["macro"]) for measure, mean in one["means"].items()}
            for one in scores_of(name, chosen, tmp_path / f"{len(chosen)}")
            if "drawn" not in str(one["notes"])
        ]
        for chosen in (once, again)
    ]
    assert means[0] == means[1] and means[0]
