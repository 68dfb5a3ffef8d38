"""Settings of an ablation of the language model: the points that differ by the seed alone, with their scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from recipes.reporting.fact_scores import FactRow, FactScores, read_fact_scores
from runtime.artefact import read_json
from runtime.stage import Stage

from .grid import Point, plain, short
from .lm_plan import LmAblation, options_of
from .table import MISSING, rate


@dataclass(frozen=True)
class Setting:
    """The points that differ by the seed alone, and their scores together.

    Attributes:
        swept: the options that vary but for the seed, with this setting's values.
        amount: share of interleaved tokens.
        seeds: of the trainings that are finished.
        facts: scores of these.
        val_losses: last validation losses by corpus, the mean over the seeds.
    """

    swept: Mapping[str, Any]
    amount: float
    seeds: Sequence[int] = ()
    facts: FactScores = field(default_factory=FactScores)
    val_losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def row(self) -> FactRow:
        """Its row in the tables: the options that vary, as text."""
        label = ", ".join(f"{short(key)} {plain(value)}" for key, value in self.swept.items()) or "one setting"
        return FactRow(label, self.amount, len(self.seeds), self.facts)

    def as_plain(self) -> dict[str, Any]:
        """As plain data for ``ablation.json``."""
        own = {"setting": self.row.label, "amount": self.amount, "seeds": list(self.seeds)}
        return own | self.facts.as_plain() | {"val_losses": dict(self.val_losses)}


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
    folders = {options_of(point).seed: ablation.folder(point) for point in points}
    done = {seed: folder for seed, folder in folders.items() if (folder / "scores" / Stage.DONE).exists()}
    asked = [folder / "answers" for folder in done.values() if (folder / "answers" / Stage.DONE).exists()]
    losses = [read_json(folder / "lm" / "metrics.json") for folder in done.values()]
    names = sorted({name for each in losses for name in each if name.startswith("val_loss.")})
    return Setting(
        swept,
        amount,
        seeds=list(done),
        facts=read_fact_scores([folder / "scores" for folder in done.values()], asked),
        val_losses={name: sum(each[name] for each in losses) / len(losses) for name in names if losses},
    )


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
