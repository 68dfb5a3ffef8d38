"""The page of all scores: headline cells, links to stamps, published rows, and what may not be compared."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evaluation import paper
from evaluation.overview.config import OverviewConfig
from runtime.errors import UserError


def scores(folder: Path, **changes: Any) -> str:
    """A file as evaluation.score writes it."""
    stamp = {
        "benchmark": "trivia_qa",
        "data_digest": "d",
        "items": 4,
        "left_out": 0,
        "failures": 1,
        "model": "ours",
        "model_digest": "m",
        "direction": "s2t",
        "rule": "contiguous",
        "compat": "default",
    } | changes
    mean = {"micro": 0.25, "macro": 0.25, "subset_mean": 0.25, "interval": [0.1, 0.4], "items": 4, "subsets": {}}
    folder.mkdir()
    one = {"stamp": stamp, "score": {"means": {"accuracy": mean}, "notes": {}, "combined": {}}}
    (folder / "scores.json").write_text(json.dumps({"scores": [one]}))
    return str(folder)


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids, self.targets = set[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.add(str(value))
            if name == "href":
                self.targets.append(str(value).removeprefix("#"))


def write(folder: Path, *sources: str) -> tuple[str, str, dict[str, Any]]:
    metrics = paper.STAGE.execute(OverviewConfig(out=str(folder / "page"), scores=list(sources)))
    return (folder / "page" / "paper.html").read_text(), (folder / "page" / "paper.md").read_text(), metrics


def test_ours_and_published_rows_with_their_stamps(tmp_path: Path) -> None:
    one = scores(tmp_path / "a")
    other = scores(tmp_path / "b", model="<other>", model_digest="n")
    page, text, metrics = write(tmp_path, one, other)
    assert metrics["trivia_qa.S->T.ours"] == 25
    assert "25.0 (10.0 to 40.0), 1 without an answer or left out" in text
    assert "GLM-4-Voice-9B | S->T" in text and "39.1" in page and "no comparison" not in page
    links = Links()
    links.feed(page)
    assert len(links.targets) == 2 and set(links.targets) <= links.ids
    assert "&lt;other&gt;" in page and "<other>" not in page
    anchors = re.findall(r"\(#(stamp-\w+)\)", text)
    assert anchors and all(f'<a id="{anchor}">' in text for anchor in anchors)


def test_other_conditions_are_no_comparison(tmp_path: Path) -> None:
    one = scores(tmp_path / "a")
    page, text, _ = write(tmp_path, one, scores(tmp_path / "b", model="other", data_digest="another"))
    assert "no comparison" in page and "no comparison" in text


def test_a_folder_of_runs_is_taken_whole(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    scores(tmp_path / "runs" / "a")
    scores(tmp_path / "runs" / "b", benchmark="an unknown one")
    _, text, metrics = write(tmp_path, str(tmp_path / "runs"))
    assert metrics["scores"] == 2 and "an unknown one" in text


def test_what_is_no_score_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no scores\.json"):
        write(tmp_path, str(tmp_path))
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "scores.json").write_text('{"scores": [{}]}')
    with pytest.raises(UserError, match="no file of scores"):
        write(tmp_path, str(tmp_path / "x"))
    with pytest.raises(UserError, match="option scores"):
        OverviewConfig(out="x")
