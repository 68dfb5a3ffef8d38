from __future__ import annotations

from pathlib import Path

from evaluation.served_chat.records import Condition
from evaluation.served_chat.table import draw_latency, quantiles
from recipes.reporting.run_results import Results
from recipes.reporting.sections.served_chat import labelled, served_section
from runtime.artefact import write_json


def finished(root: Path, metrics: dict[str, float]) -> Results:
    """A run of a recipe with the step ``served`` (without metrics: not run)."""
    modules = {"corpus": "corpus.build", "served": "evaluation.chat"}
    steps = {name: {"module": module, "folder": str(root / name), "metrics": name} for name, module in modules.items()}
    write_json(root / "recipe" / "plan.json", {"recipe": "any", "steps": steps})
    for name in ("corpus", "served") if metrics else ("corpus",):
        write_json(root / name / "metrics.json", metrics)
        write_json(root / name / "done.json", {"fingerprint": "x", "seconds": 1.0})
    draw_latency(root / "served" / "latency.png", {"commit.1": [0.2, 0.4], "server_vad.4": [0.9]})
    return Results(root)


def test_a_row_for_each_condition_and_turn(tmp_path: Path) -> None:
    waits = quantiles("first_audio", [0.2, 0.4, 1.1])
    assert waits == {"first_audio.p50": 0.4, "first_audio.p90": 1.1, "first_audio.p95": 1.1, "first_audio.p99": 1.1}
    slow = Condition("server_vad", rate=0.5).label
    metrics = {f"commit.1.{key}": value for key, value in {"questions": 3, **waits}.items()}
    metrics |= {
        f"{slow}.questions": 3,
        f"{slow}.errors": 1,
        "commit.interrupted.cases": 2,
        "commit.interrupted.errors": 0,
    }
    assert set(labelled(metrics)) == {"commit.1", slow, "commit.interrupted"}
    section = served_section(finished(tmp_path / "run", metrics))
    assert section is not None
    tables = [block["rows"] for block in section.blocks if block["kind"] == "table"]
    assert [[row[0] for row in table] for table in tables] == [["commit.1", slow], ["commit.interrupted"]]
    assert "1.10" in tables[0][0]
    assert "-" in tables[0][1]  # nothing was heard there
    assert [block["source"][:15] for block in section.blocks if block["kind"] == "image"] == ["data:image/png;"]
    assert served_section(finished(tmp_path / "without", {})) is None
