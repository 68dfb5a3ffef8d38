"""The report's section on the base model: every direction and rule, with the parts of the set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from recipes.reporting.run_results import Results
from recipes.reporting.sections.base_model import base_model_section
from runtime.artefact import write_json


def results_of(root: Path, scores: list[dict[str, Any]] | None) -> Results:
    entry = {"module": "evaluation.base_score", "folder": str(root / "base_scores"), "metrics": "base"}
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": {"base_scores": entry}})
    write_json(root / "base_scores" / "done.json", {"fingerprint": "x", "seconds": 1.0})
    write_json(root / "base_scores" / "metrics.json", {"s2s.sequence.accuracy": 0.625})
    if scores is not None:
        write_json(root / "base_scores" / "scores.json", {"scores": scores})
    return Results(root)


def score(direction: str, rule: str, micro: float, **subsets: float) -> dict[str, Any]:
    mean = {"micro": micro, "interval": [micro - 0.1, micro + 0.1], "subsets": subsets}
    return {"stamp": {"direction": direction, "rule": rule, "items": 40}, "score": {"means": {"accuracy": mean}}}


def test_a_row_for_each_direction_and_rule(tmp_path: Path) -> None:
    scores = [score("s2s", "sequence", 0.625, place=0.5, topic=0.75), score("t2t", "continuation", 0.9, place=0.9)]
    results = results_of(tmp_path, scores)
    section = base_model_section(results)
    assert section is not None
    (table,) = [block for block in section.blocks if block["kind"] == "table"]
    assert table["header"][-2:] == ["place", "topic"]
    assert table["rows"] == [
        ["speech to speech", "sequence", "62.5 %", "52.5 % to 72.5 %", "50.0 %", "75.0 %"],
        ["text to text", "continuation", "90.0 %", "80.0 % to 100.0 %", "90.0 %", "–"],
    ]
    assert any("40 stories" in block.get("text", "") for block in section.blocks)
    (headline,) = results.headlines()
    assert (headline.name, headline.value) == ("base.s2s.sequence.accuracy", 0.625)


def test_no_section_without_scores(tmp_path: Path) -> None:
    assert base_model_section(results_of(tmp_path, None)) is None
