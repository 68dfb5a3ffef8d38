"""Scores of an ablation of the language model: for each setting, the seeds together, by group, set and direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.world.made_up_facts import GROUPS
from evaluation.rules.measure import MeanScore, Measure, PartMeasure, mean_score, ratio
from runtime.artefact import read_json
from runtime.stage import Stage

from .grid import Point, plain, short
from .lm_plan import LmAblation, options_of
from .table import MISSING, rate


class ChoiceCell(NamedTuple):
    """One column of a group's table: a set of choices in one direction."""

    choices: str
    direction: str

    @property
    def head(self) -> str:
        """The column's head."""
        return f"{self.choices.replace('_', ' ')} {self.direction.upper().replace('2', '→')}"


# T->T first: where it is not near 100 % the facts are not known, and no other column says anything.
CELLS = (
    ChoiceCell("questions", "t2t"),
    ChoiceCell("questions", "s2t"),
    ChoiceCell("questions", "t2s"),
    ChoiceCell("questions", "s2s"),
    ChoiceCell("new_questions", "t2t"),
    ChoiceCell("new_questions", "s2t"),
    ChoiceCell("beginnings", "s2t"),
    ChoiceCell("statements", "t2t"),
    ChoiceCell("statements", "s2s"),
)


@dataclass(frozen=True)
class Setting:
    """The points that differ by the seed alone, and their scores together.

    Attributes:
        swept: the options that vary but for the seed, with this setting's values.
        amount: share of interleaved tokens.
        seeds: of the trainings that are finished.
        scores: group -> set and direction -> mean over all seeds; its interval is over entities.
        of_seeds: the same of each seed, without intervals.
        val_losses: last validation losses by corpus, the mean over the seeds.
    """

    swept: Mapping[str, Any]
    amount: float
    seeds: Sequence[int] = ()
    scores: Mapping[str, Mapping[ChoiceCell, MeanScore]] = field(default_factory=dict)
    of_seeds: Mapping[str, Mapping[ChoiceCell, Sequence[float]]] = field(default_factory=dict)
    val_losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The options that vary, as text."""
        return ", ".join(f"{short(key)} {plain(value)}" for key, value in self.swept.items()) or "one setting"

    def as_plain(self) -> dict[str, Any]:
        """As plain data for ``ablation.json``."""
        return {
            "setting": self.label,
            "amount": self.amount,
            "seeds": list(self.seeds),
            "scores": {
                group: {
                    f"{cell.choices}.{cell.direction}": {
                        "accuracy": mean.micro,
                        "interval": list(mean.interval),
                        "items": mean.items,
                        "of_seeds": list(self.of_seeds[group][cell]),
                    }
                    for cell, mean in own.items()
                }
                for group, own in self.scores.items()
            },
            "val_losses": dict(self.val_losses),
        }


def gather_settings(ablation: LmAblation) -> list[Setting]:
    """The settings in the grid's order, with the scores of the points that are finished."""
    points: dict[str, list[Point]] = {}
    for point in ablation.points:
        swept = {key: value for key, value in point.swept.items() if key != "seed"}
        points.setdefault(str(swept), []).append(point)
    return [setting_of(ablation, own) for own in points.values()]


def setting_of(ablation: LmAblation, points: Sequence[Point]) -> Setting:
    """One setting out of its points."""
    amount = options_of(points[0]).amount
    named = set(points[0].swept) - {"seed"} if amount else {"amount", "left_out"}  # without it, nothing else counts
    swept = {key: value for key, value in points[0].swept.items() if key in named}
    done = [point for point in points if (ablation.folder(point) / "scores" / Stage.DONE).exists()]
    measures = {options_of(point).seed: read_measures(ablation.folder(point) / "scores") for point in done}
    scores: dict[str, dict[ChoiceCell, MeanScore]] = {}
    of_seeds: dict[str, dict[ChoiceCell, list[float]]] = {}
    for group in GROUPS:
        for cell in CELLS:
            own = [found.get((f"{cell.choices}.{group}", cell.direction), []) for found in measures.values()]
            if any(own):
                together = [one for each in own for one in each]
                scores.setdefault(group, {})[cell] = mean_score("accuracy", together)
                of_seed = [[one.measure for one in each] for each in own]
                means = [ratio([one.total for one in each], [one.weight for one in each]) for each in of_seed]
                of_seeds.setdefault(group, {})[cell] = means
    losses = [read_json(ablation.folder(point) / "lm" / "metrics.json") for point in done]
    names = sorted({name for each in losses for name in each if name.startswith("val_loss.")})
    return Setting(
        swept,
        amount,
        seeds=list(measures),
        scores=scores,
        of_seeds=of_seeds,
        val_losses={name: sum(each[name] for each in losses) / len(losses) for name in names if losses},
    )


def read_measures(folder: Path) -> dict[tuple[str, str], list[PartMeasure]]:
    """The measures of ``items.jsonl`` of evaluation.base_score, by subset and direction."""
    found: dict[tuple[str, str], list[PartMeasure]] = {}
    for _, line in numbered_lines((folder / "items.jsonl").read_bytes().split(b"\n")):
        record = parse_json_line(line)
        measure = PartMeasure("", Measure(*record["measures"]["accuracy"]), str(record["cluster"]))
        found.setdefault((record["subset"], record["direction"]), []).append(measure)
    return found


def group_table(settings: Sequence[Setting], group: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of one group: accuracy with its interval, in per cent."""
    cells = [cell for cell in CELLS if any(cell in setting.scores.get(group, {}) for setting in settings)]
    rows = []
    for setting in settings:
        own = setting.scores.get(group, {})
        row = [setting.label, str(len(setting.seeds))]
        rows.append([*row, *(score_text(own[cell]) if cell in own else MISSING for cell in cells)])
    return ["setting", "seeds", *(cell.head for cell in cells)], rows


def score_text(mean: MeanScore) -> str:
    """``92 (88 to 95)``, in per cent."""
    low, high = mean.interval
    return f"{100 * mean.micro:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def source_table(ablation: LmAblation) -> tuple[list[str], list[list[str]]]:
    """The word error rates of the spans of each source, read back by the tokenizer."""
    rows = []
    for name in dict.fromkeys(options_of(point).source_name for point in ablation.points if options_of(point).amount):
        folder = ablation.out / "readback" / name
        if (folder / Stage.DONE).exists():
            metrics = read_json(folder / "metrics.json")
            floor = metrics.get("span_wer_of_real_tokens")
            rows.append(
                [name, rate(metrics["span_wer"]) or MISSING, rate(floor) or MISSING, str(metrics["read_spans"])]
            )
    return ["spans", "WER", "WER of the synthesiser's own tokens", "spans read"], rows


# 2411.17607: 1.5B, tokens of interleaved data against the mean of Web Questions, Llama Questions and TriviaQA, S->S.
PAPER_HEADS = ["interleaved tokens", "spoken question answering (three sets), %"]
PAPER_ROWS = [["0", "15.3"], ["100 B", "23.1"], ["200 B", "26.7"], ["600 B", "31.0"]]
PAPER_TITLE = "The paper's ablation of the amount (arXiv 2411.17607; labelled Web Questions there)"
