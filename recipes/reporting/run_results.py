"""What a recipe's steps left behind: their metrics under flat names, their seconds, their curves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime.artefact import read_json
from runtime.errors import UserError
from runtime.stage import Stage

METRIC_KINDS = (int, float, str, bool)


class Results:
    """The finished steps of one run folder.

    Args:
        root: the run folder of a recipe.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        plan = read_json(root / "recipe" / "plan.json")
        self.recipe: str = plan["recipe"]
        every: dict[str, dict[str, Any]] = plan["steps"]
        self.steps = {name: entry for name, entry in every.items() if (Path(entry["folder"]) / Stage.DONE).exists()}
        if not self.steps:
            raise UserError(str(root), found="no finished step", remedy="run the recipe first")

    def folder(self, step: str) -> Path | None:
        """The run folder of a finished step, or None."""
        return Path(self.steps[step]["folder"]) if step in self.steps else None

    def metrics_of(self, step: str) -> dict[str, Any]:
        """A step's own metrics (empty when it did not run)."""
        folder = self.folder(step)
        return read_json(folder / "metrics.json") if folder else {}

    def seconds(self, step: str) -> float:
        """Seconds a step took, over all attempts."""
        folder = self.folder(step)
        return float(read_json(folder / Stage.DONE)["seconds"]) if folder else 0.0

    def read(self, step: str, name: str) -> dict[str, Any] | None:
        """A JSON file of a step, or None where there is none."""
        folder = self.folder(step)
        return read_json(folder / name) if folder and (folder / name).exists() else None

    def lines(self, step: str, name: str) -> list[dict[str, Any]]:
        """A JSONL file of a step (empty where there is none)."""
        folder = self.folder(step)
        if folder is None or not (folder / name).exists():
            return []
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]

    def curves(self) -> dict[str, list[dict[str, float]]]:
        """The training curves by step."""
        found = {step: self.lines(step, "curve.jsonl") for step in self.steps}
        return {step: points for step, points in found.items() if points}

    def flat_metrics(self) -> dict[str, Any]:
        """All metrics under dotted names, with ``seconds.<step>`` and ``seconds.total`` (wall clock of the run)."""
        flat: dict[str, Any] = {}
        for step, entry in self.steps.items():
            prefix = entry["metrics"]
            if prefix is not None:
                start = f"{prefix}." if prefix else ""
                values = self.metrics_of(step).items()
                flat |= {start + key: value for key, value in values if isinstance(value, METRIC_KINDS)}
        flat |= {f"seconds.{step}": self.seconds(step) for step in self.steps}
        wall = self.root / "wall.json"
        if wall.exists():
            flat["seconds.total"] = read_json(wall)["seconds"]
        return flat
