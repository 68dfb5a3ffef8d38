"""The modality gap: paired differences by hand, and what is no pair."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from evaluation import paper
from evaluation.answers.answer_file import HEADER
from evaluation.overview.config import OverviewConfig
from runtime.artefact import read_json, write_json
from runtime.errors import UserError
from tests.support.scored_set import answer_all, score_all, write_rows

KEYS = ["rome", "paris", "oslo", "cairo"] * 10


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_rows(
        tmp_path / "set.jsonl", [{"id": n, "question": f"q {n}", "answers": [key]} for n, key in enumerate(KEYS)]
    )
    return tmp_path / "set.jsonl"


def scored(folder: Path, data: Path, direction: str, right: set[str], spoken: set[str] | None = None) -> str:
    """Scores of a model that knows the answers ``right`` in text, and ``spoken`` in speech."""

    def said(known: set[str]) -> list[str]:
        return [key if key in known else "nowhere" for key in KEYS]

    answers = answer_all("trivia_qa", data, folder / "answers", said(right), said(spoken) if spoken is not None else ())
    header = read_json(answers / HEADER)
    write_json(answers / HEADER, header | {"direction": direction})
    score_all("trivia_qa", data, answers, folder / "scores", rules=["contiguous", "contains"])
    return str(folder / "scores")


def gaps(folder: Path, *sources: str) -> tuple[dict[str, Any], str]:
    metrics = paper.STAGE.execute(OverviewConfig(out=str(folder / "page"), scores=list(sources)))
    page = (folder / "page" / "paper.html").read_text()
    assert ("Modality gap" in page) == any(name.startswith("gap.") for name in metrics)
    return {name: value for name, value in metrics.items() if name.startswith("gap.")}, (
        folder / "page" / "paper.md"
    ).read_text()


def test_gaps_are_those_by_hand(data: Path, tmp_path: Path) -> None:
    text = scored(tmp_path / "t", data, "t2t", {"rome", "paris", "oslo"})
    speech = scored(tmp_path / "s", data, "s2s", {"rome", "paris", "cairo"}, {"rome"})
    found, page = gaps(tmp_path, text, speech)
    name = "gap.trivia_qa.{}.{}.made-up"
    assert found == {
        name.format(rule, way): gap
        for rule in ("contiguous", "contains")
        for way, gap in (("S->T", 0.0), ("S->S", 50.0))
    }
    rows = [line.split(" | ") for line in page.splitlines() if "| made-up | contiguous | S->" in line]
    intervals = {row[3]: [float(number) for number in re.findall(r"-?\d+\.\d", row[6])] for row in rows}
    assert {row[3]: row[4:6] for row in rows} == {"S->T": ["75.0", "75.0"], "S->S": ["75.0", "25.0"]}
    # Differences of 0, 1, 1, 0 and, S->T, of 0, 0, 1, -1: the standard error of 40 items is their spread by sqrt(40).
    for way, gap, spread in (("S->S", 50.0, 0.5), ("S->T", 0.0, 0.5**0.5)):
        middle, low, high = intervals[way]
        assert middle == gap and high - low == pytest.approx(2 * 1.96 * 100 * spread / 40**0.5, rel=0.15)


def test_other_conditions_are_no_pair(data: Path, tmp_path: Path) -> None:
    text = scored(tmp_path / "t", data, "t2t", {"rome"})
    speech = scored(tmp_path / "s", data, "s2t", {"rome"})
    assert len(gaps(tmp_path, text, speech)[0]) == 2
    for number, change in enumerate(({"shots": 4}, {"model_digest": "another"}, {"settings": {"prompt": "qa 1"}})):
        answers = tmp_path / "s" / "answers"
        header = read_json(answers / HEADER)
        write_json(answers / HEADER, header | change)
        score_all("trivia_qa", data, answers, tmp_path / f"other{number}", rules=["contiguous"])
        write_json(answers / HEADER, header)
        assert gaps(tmp_path / f"g{number}", text, str(tmp_path / f"other{number}"))[0] == {}
    assert gaps(tmp_path / "alone", speech)[0] == {}


def test_a_broken_line_of_items_is_named(data: Path, tmp_path: Path) -> None:
    text = scored(tmp_path / "t", data, "t2t", {"rome"})
    (Path(text) / "items.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match=r"items\.jsonl, line 1: no item's score"):
        gaps(tmp_path, text)
