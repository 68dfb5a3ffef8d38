"""The report's section on made-up facts: with and without interleaving side by side, intervals, plot, answers."""

from __future__ import annotations

import json
from pathlib import Path

from recipes.reporting.run_results import Results
from recipes.reporting.sections.knowledge import knowledge_section
from runtime.artefact import write_json, write_text


def write_items(folder: Path, right: dict[tuple[str, str], float], name: str) -> None:
    """Measures of ten entities; the first are right, as many as a share says."""
    lines = []
    for (subset, direction), share in right.items():
        for entity in range(10):
            record = {"id": f"{subset}-{entity}", "subset": subset, "cluster": f"e{entity}", "direction": direction}
            lines.append(json.dumps(record | {"measures": {name: [float(entity < 10 * share), 1]}}) + "\n")
    write_text(folder / "items.jsonl", "".join(lines))
    write_json(folder / "done.json", {"seconds": 1.0})
    write_json(folder / "metrics.json", {"span_wer": 0.5, "span_wer_of_real_tokens": 0.25})


def results_of(root: Path, *steps: str) -> Results:
    entries = {
        step: {"module": "evaluation.base_score", "folder": str(root / step), "metrics": None}
        for step in (*steps, "facts")
    }
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": entries})
    write_json(root / "facts" / "done.json", {"seconds": 1.0})
    return Results(root)


def test_with_and_without_stand_beside_each_other(tmp_path: Path) -> None:
    for step, share in (("fact_plain", 0.5), ("fact_interleaved", 0.9)):
        scores = {("questions.interleaved", "s2t"): share, ("statements.interleaved", "s2s"): 0.7}
        write_items(tmp_path / f"{step}_scores", scores | {("questions.text", "s2t"): 0.5}, "accuracy")
        write_items(tmp_path / f"{step}_answers", {("questions.interleaved", "heard"): 0.2}, "wer")
    write_items(tmp_path / "fact_readback", {}, "accuracy")
    kinds = ("fact_plain_scores", "fact_interleaved_scores", "fact_plain_answers", "fact_interleaved_answers")
    section = knowledge_section(results_of(tmp_path, *kinds, "fact_readback"))
    assert section is not None
    tables = [block for block in section.blocks if block["kind"] == "table"]
    (own,) = [table for table in tables if table["header"][-1] == "statements S→S"]
    assert own["header"][:3] == ["setting", "seeds", "questions S→T"]
    assert [row[0] for row in own["rows"]] == ["without interleaved texts", "with interleaved texts"]
    assert [row[2].split()[0] for row in own["rows"]] == ["50", "90"] and "(7" in own["rows"][1][2]
    assert any("word errors" in head for table in tables for head in table["header"])
    assert [block["kind"] for block in section.blocks].count("image") == 1
    assert any("50.0 %; of the" in block.get("text", "") for block in section.blocks)


def test_no_section_without_scores(tmp_path: Path) -> None:
    assert knowledge_section(results_of(tmp_path)) is None
