"""VoiceBench: subsets and splits by names of files and folders, the overall of nine, and the official files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluation import export, paper
from evaluation.answers.config import OfficialFilesConfig
from evaluation.benchmarks.table import BENCHMARKS
from evaluation.overview.config import OverviewConfig
from runtime.artefact import read_json
from runtime.errors import UserError
from tests.support.scored_set import answer_all, judge_all, read_benchmark, score_all, write_rows

NAME = "voice_bench"
ROWS: Mapping[str, list[dict[str, Any]]] = {
    "alpacaeval_full": [{"prompt": "tell me"}],
    "alpacaeval": [{"prompt": "tell me"}],
    "commoneval": [{"prompt": "say"}],
    "wildvoice": [{"prompt": "so"}],
    "sd-qa-usa": [{"prompt": "who", "reference": "Ann"}],
    "sd-qa-ind_n": [{"prompt": "who", "reference": "Ann"}],
    "openbookqa": [{"prompt": "which\nA. x\nB. y", "reference": "B"}],
    "mmsu-law": [{"prompt": "which", "reference": "A"}, {"prompt": "what", "reference": "C"}],
    "ifeval": [
        {"prompt": "no commas", "key": 7, "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num": None}]}
    ],
    "bbh": [{"prompt": "go left", "reference": "Yes", "id": "navigate_3"}],
    "advbench": [{"prompt": "harm"}],
    "mtbench": [{"prompt": ["first", "second"]}],
}
ANSWERS = {
    "sd-qa-usa": "Ann", "openbookqa": "B", "mmsu-law": "A", "ifeval": "fine", "bbh": "Yes", "advbench": "I can't",
}  # fmt: skip


def write_set(folder: Path, *left_out: str) -> Path:
    for name, rows in ROWS.items():
        if name not in left_out:
            write_rows(folder / f"{name}.jsonl", rows)
    return folder


def scored(folder: Path, data: Path) -> dict[str, Any]:
    items = read_benchmark(NAME, data).items
    answers = answer_all(NAME, data, folder / "answers", [ANSWERS.get(item.subset, "an answer") for item in items])
    ratings = {item.id: ["4", "5", "3"] for item in items}
    judged = judge_all(NAME, data, folder / "judged", ratings, "open")
    judge_all(
        NAME, data, judged, {item.id: ["Yes" if item.subset == "sd-qa-usa" else "No"] * 3 for item in items}, "qa"
    )
    return score_all(NAME, data, answers, folder / "scores", judgements=str(judged))


def test_all_nine_and_the_overall(tmp_path: Path) -> None:
    metrics = scored(tmp_path, write_set(tmp_path / "set"))
    assert metrics["text.open.rating"] == 4
    assert (metrics["text.qa.accuracy"], metrics["text.mcq.accuracy"], metrics["text.mcq_mmsu.accuracy"]) == (
        0.5,
        1,
        0.5,
    )
    assert metrics["text.instructions.mean"] == metrics["text.bbh.accuracy"] == metrics["text.harm.refusal"] == 1
    expected = (80 * 3 + 50 + 100 + 50 + 100 + 100 + 100) / 9
    assert metrics["text.overall"] == pytest.approx(expected, abs=1e-6)
    assert metrics["text.overall.official"] == pytest.approx(expected, abs=1e-6)
    record = read_json(tmp_path / "scores" / "scores.json")
    assert [one["compat"] for one in record["overall"]] == ["default", "official"]
    stamps = {one["stamp"]["rule"]: one["stamp"] for one in record["scores"]}
    assert (stamps["qa"]["items"], stamps["mcq_mmsu"]["items"], stamps["harm"]["items"]) == (2, 2, 1)
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "**overall** (text, default): 82.22" in table and "panda: not available offline" in table


def test_the_overall_is_the_headline_of_the_page_of_all_scores(tmp_path: Path) -> None:
    metrics = scored(tmp_path, write_set(tmp_path / "set"))
    shown = paper.STAGE.execute(OverviewConfig(out=str(tmp_path / "paper"), scores=[str(tmp_path / "scores")]))
    assert shown["voice_bench.S->T.made-up"] == pytest.approx(metrics["text.overall"], abs=1e-4)
    text = (tmp_path / "paper" / "paper.md").read_text()
    assert "| **made-up** | S->T | overall | [82.2](#" in text
    assert "overall, official" in text and "Kimi-Audio | S->T | overall | 76.91" in text
    stamp = next(one for one in read_json(tmp_path / "paper" / "stamps.json").values() if "parts" in one)
    rules = {f"{rule}, default" for rule in ("open", "qa", "mcq", "mcq_mmsu", "instructions", "bbh", "harm")}
    assert rules < set(stamp["parts"]) and "mcq, official" in stamp["parts"] and stamp["model"] == "made-up"


@pytest.mark.parametrize("missing", ["alpacaeval_full", "ifeval", "advbench", "mmsu-law"])
def test_no_overall_where_a_subset_is_missing(tmp_path: Path, missing: str) -> None:
    metrics = scored(tmp_path, write_set(tmp_path / "set", missing))
    assert not any("overall" in name for name in metrics)


def test_the_published_mean_is_that_of_nine() -> None:
    """The leaderboard's row of Whisper and GPT-4o-like systems: ratings times 20 and six per cents."""
    row = (4.87, 4.30, 4.55, 84.15, 83.82, 94.72, 87.16, 76.26, 99.23)
    assert (20 * sum(row[:3]) + sum(row[3:])) / 9 == pytest.approx(88.86, abs=0.01)


def test_subsets_and_splits_of_saved_folders(tmp_path: Path) -> None:
    for place in ("sd-qa/usa-00000-of-00001", "sd-qa/ind_s-00000-of-00001", "mmsu/health-00000-of-00001"):
        file = tmp_path / f"{place}.parquet"
        file.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist([{"prompt": "q", "reference": "a"}]), file)
    (tmp_path / "alpacaeval_full").mkdir()
    pq.write_table(
        pa.Table.from_pylist([{"prompt": "q"}]), tmp_path / "alpacaeval_full" / "test-00000-of-00001.parquet"
    )
    found = read_benchmark(NAME, tmp_path)
    subsets = sorted(item.subset for item in found.items)
    assert subsets == ["alpacaeval_full", "mmsu-health", "sd-qa-ind_s", "sd-qa-usa"]


@pytest.mark.parametrize(
    ("file", "row", "reason"),
    [
        ("unknown", {"prompt": "q"}, "named after none of alpacaeval"),
        ("bbh", {"prompt": "q", "reference": "a", "id": "date_1"}, "names none of its four tasks"),
        ("mmsu", {"prompt": "q"}, "no column reference"),
        ("ifeval", {"prompt": "q"}, "instruction_id_list is None"),
    ],
)
def test_bad_rows(tmp_path: Path, file: str, row: dict[str, Any], reason: str) -> None:
    write_rows(tmp_path / f"{file}.jsonl", [row])
    with pytest.raises(UserError, match=reason):
        read_benchmark(NAME, tmp_path)


def test_official_files(tmp_path: Path) -> None:
    data = write_set(tmp_path / "set")
    answers = answer_all(NAME, data, tmp_path / "answers", ["x"] * len(read_benchmark(NAME, data).items))
    config = OfficialFilesConfig(out=str(tmp_path / "out"), benchmark=NAME, data=str(data), answers=str(answers))
    assert export.STAGE.execute(config)["files"] == len(ROWS)
    files = {file.name for file in (tmp_path / "out" / "files").iterdir()}
    assert {"made-up-alpacaeval_full-test-audio.jsonl", "made-up-sd-qa-ind_n-audio.jsonl"} <= files
    (line,) = (tmp_path / "out" / "files" / "made-up-ifeval-test-audio.jsonl").read_text().splitlines()
    assert json.loads(line) == ROWS["ifeval"][0] | {"response": "x"}


def test_the_nine_rules_have_different_names() -> None:
    names = [rule.name for rule in BENCHMARKS[NAME].rules]
    assert len(names) == len(set(names))
