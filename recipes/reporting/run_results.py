"""Results of a recipe's finished steps: metrics under flat names, headline metrics, seconds, training curves."""

from __future__ import annotations

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from corpus.json_lines import numbered_lines, parse_json_line
from runtime.artefact import read_json
from runtime.errors import UserError
from runtime.stage import Headline, Stage

METRIC_KINDS = (int, float, str, bool)
# Headline metrics in the order of the report's tiles; those of further stages follow in the order of the steps.
HEADLINE_ORDER = (
    "tokenizer.wer_with_vq",
    "decoder.judge_wer",
    "judge.floor_wer",
    "text2token.span_wer",
    "text2token.readback_wer",
    "chat.speech_to_text_accuracy",
    "chat.speech_to_speech_accuracy",
)


class HeadlineValue(NamedTuple):
    """A headline metric of a run: its step, its name in the run's metrics, and its value."""

    step: str
    name: str
    headline: Headline
    value: float


class Results:
    """The finished steps of one run folder.

    Args:
        root: the run folder of a recipe.
        num_examples: spoken questions and answers that the report shows with sound.
    """

    def __init__(self, root: Path, *, num_examples: int = 12) -> None:
        self.root, self.num_examples = root, num_examples
        plan = read_json(root / "recipe" / "plan.json")
        self.recipe: str = plan["recipe"]
        every: dict[str, dict[str, Any]] = plan["steps"]
        self.steps = {name: entry for name, entry in every.items() if (Path(entry["folder"]) / Stage.DONE).exists()}
        if not self.steps:
            raise UserError(str(root), found="no finished step", remedy="run the recipe first")

    def folder(self, step: str) -> Path | None:
        """The run folder of a finished step, or None."""
        return Path(self.steps[step]["folder"]) if step in self.steps else None

    def step_of(self, module: str) -> str | None:
        """The first finished step that ran a stage, or None."""
        return next((step for step, entry in self.steps.items() if entry["module"] == module), None)

    def metrics_of(self, step: str) -> dict[str, Any]:
        """A step's own metrics (empty when it did not run)."""
        folder = self.folder(step)
        return read_json(folder / "metrics.json") if folder else {}

    def seconds(self, step: str) -> float:
        """Seconds a step took, over all attempts."""
        folder = self.folder(step)
        return float(read_json(folder / Stage.DONE)["seconds"]) if folder else 0.0

    @property
    def total_seconds(self) -> float | None:
        """Wall clock of the whole run, if it was kept."""
        wall = self.root / "wall.json"
        return float(read_json(wall)["seconds"]) if wall.exists() else None

    def read(self, step: str, name: str) -> dict[str, Any] | None:
        """A JSON file of a step, or None where there is none."""
        folder = self.folder(step)
        return read_json(folder / name) if folder and (folder / name).exists() else None

    def lines(self, step: str, name: str) -> list[dict[str, Any]]:
        """A JSONL file of a step (empty where there is none)."""
        folder = self.folder(step)
        if folder is None or not (folder / name).exists():
            return []
        return records_of(folder / name)

    def curves(self) -> dict[str, list[dict[str, float]]]:
        """The training curves by step."""
        found = {step: self.lines(step, "curve.jsonl") for step in self.steps}
        return {step: points for step, points in found.items() if points}

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All metrics under dotted names, with ``seconds.<step>`` and ``seconds.total`` (wall clock of the run)."""
        flat: dict[str, Any] = {}
        for step, entry in self.steps.items():
            if entry["metrics"] is not None:
                values = self.metrics_of(step).items()
                flat |= {metric_name(entry, key): value for key, value in values if isinstance(value, METRIC_KINDS)}
        flat |= {f"seconds.{step}": self.seconds(step) for step in self.steps}
        if self.total_seconds is not None:
            flat["seconds.total"] = self.total_seconds
        return flat

    def headlines(self) -> list[HeadlineValue]:
        """The headline metrics that the stages of the run declare and have measured.

        Where a stage ran more than once, its first step counts: the others are baselines.
        """
        found = []
        for step, entry in self.steps.items():
            if entry["metrics"] is None or step != self.step_of(entry["module"]):
                continue
            for headline in importlib.import_module(entry["module"]).STAGE.headlines:
                name = metric_name(entry, headline.metric)
                if name in self.metrics:
                    found.append(HeadlineValue(step, name, headline, self.metrics[name]))
        places = {name: place for place, name in enumerate(HEADLINE_ORDER)}
        return sorted(found, key=lambda each: places.get(each.name, len(places)))


def metric_name(entry: dict[str, Any], key: str) -> str:
    """A step's metric under its name in the run's metrics; ``entry`` is the step's in ``plan.json``."""
    return f"{entry['metrics']}.{key}" if entry["metrics"] else key


def records_of(file: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file; only a line feed ends a line (transcripts may hold U+2028)."""
    with file.open("rb") as lines:
        return [parse_json_line(line) for _, line in numbered_lines(lines)]
