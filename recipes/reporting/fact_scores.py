"""Scores about made-up facts: choices and answers by generation, by group of facts; seeds together, and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.world.made_up_facts import GROUPS
from evaluation.rules.measure import MeanScore, Measure, PartMeasure, mean_score, ratio

from .blocks import Section

MISSING = "–"
CHANCE = 50
LABELS = {
    "interleaved": "facts of interleaved texts",
    "text": "facts of texts alone",
    "spoken": "facts told in speech",
}
READING = (
    "Share of false answers that the true one beats, in per cent, with a 95 % interval over entities (all seeds"
    " together); chance is 50. Facts of interleaved texts are told by texts alone, and these texts are interleaved;"
    " facts of texts alone are the control: the same entities and relations, never interleaved. No speech tells a fact"
    " of either. T→T says whether the facts are known at all; where it is low, the other columns say nothing. New"
    " questions are asked in words that no training data uses. Statements are whole sentences, true against false;"
    " beginnings lack the last word."
)
GENERATION = (
    "The same questions answered by greedy generation, and what the model hears: word errors of its own transcript of"
    " the spoken question. The cascade answers that transcript as text, so it falls short where the model does not"
    " hear; S→T falls short where what is heard does not lead to what is known. After a spoken question base models"
    " tend to go on with another sentence; with the answer begun ('it is the'), the next word is what counts. By"
    " guessing, one of seven or eight is right."
)


WAYS = {"heard": "word errors of the transcript", "cascade": "cascade", "s2t_begun": "S→T, answer begun"}


class ChoiceCell(NamedTuple):
    """One column of a group's table: a set of choices in one direction."""

    choices: str
    direction: str

    @property
    def head(self) -> str:
        """The column's head."""
        way = WAYS.get(self.direction) or self.direction.upper().replace("2", "→")
        return f"{self.choices.replace('_', ' ')} {way}"


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

# By generation: what is answered in text, heard, answered to what was heard, and answered in text after speech.
ANSWER_CELLS = (
    ChoiceCell("questions", "t2t"),
    ChoiceCell("questions", "heard"),
    ChoiceCell("questions", "cascade"),
    ChoiceCell("questions", "s2t"),
    ChoiceCell("questions", "s2t_begun"),
    ChoiceCell("new_questions", "t2t"),
    ChoiceCell("new_questions", "heard"),
    ChoiceCell("new_questions", "cascade"),
    ChoiceCell("new_questions", "s2t_begun"),
)
Means = Mapping[str, Mapping[ChoiceCell, MeanScore]]
OfSeeds = Mapping[str, Mapping[ChoiceCell, Sequence[float]]]


@dataclass(frozen=True)
class FactScores:
    """Scores of models that differ by the seed alone; all by group, then by set and direction.

    Attributes:
        scores: mean over the choices of all seeds; its interval is over entities.
        of_seeds: the mean of each seed.
        answers: as ``scores``, of answers by generation (of ``heard``: word errors).
        answers_of_seeds: as ``of_seeds``.
    """

    scores: Means = field(default_factory=dict)
    of_seeds: OfSeeds = field(default_factory=dict)
    answers: Means = field(default_factory=dict)
    answers_of_seeds: OfSeeds = field(default_factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """As plain data for a JSON file."""
        return {
            "scores": plain_means(self.scores, self.of_seeds),
            "answers": plain_means(self.answers, self.answers_of_seeds),
        }


class FactRow(NamedTuple):
    """One row of a table and one mark of a figure.

    Attributes:
        label: its name.
        amount: share of interleaved tokens; None where the rows are no curve over it.
        num_seeds: of the models.
        facts: their scores.
    """

    label: str
    amount: float | None
    num_seeds: int
    facts: FactScores


def read_fact_scores(chosen: Sequence[Path], asked: Sequence[Path]) -> FactScores:
    """The scores of models that differ by the seed alone.

    Args:
        chosen: output folders of evaluation.base_score, one a seed.
        asked: output folders of evaluation.fact_answers, one a seed.
    """
    scores = together([read_measures(folder) for folder in chosen], CELLS)
    answers = together([read_measures(folder) for folder in asked], ANSWER_CELLS)
    return FactScores(scores.means, scores.of_seeds, answers.means, answers.of_seeds)


def plain_means(means: Means, of_seeds: Mapping[str, Mapping[ChoiceCell, Sequence[float]]]) -> dict[str, Any]:
    """Means by group and cell as plain data."""
    return {
        group: {
            f"{cell.choices}.{cell.direction}": {
                "mean": mean.micro,
                "interval": list(mean.interval),
                "items": mean.items,
                "of_seeds": list(of_seeds[group][cell]),
            }
            for cell, mean in own.items()
        }
        for group, own in means.items()
    }


class SeedsTogether(NamedTuple):
    """Means over the items of all seeds by group and cell, and the mean of each seed."""

    means: dict[str, dict[ChoiceCell, MeanScore]]
    of_seeds: dict[str, dict[ChoiceCell, Sequence[float]]]


def together(measures: Sequence[Measures], cells: Sequence[ChoiceCell]) -> SeedsTogether:
    """The means of some cells; ``measures`` are those of each seed."""
    found = SeedsTogether({}, {})
    for group in GROUPS:
        for cell in cells:
            own = [each.get((f"{cell.choices}.{group}", cell.direction), []) for each in measures]
            if any(own):
                found.means.setdefault(group, {})[cell] = mean_score("accuracy", [one for each in own for one in each])
                of_seed = [[one.measure for one in each] for each in own]
                means = [ratio([one.total for one in each], [one.weight for one in each]) for each in of_seed]
                found.of_seeds.setdefault(group, {})[cell] = means
    return found


Measures = Mapping[tuple[str, str], Sequence[PartMeasure]]


def read_measures(folder: Path) -> Measures:
    """The measure of each item of evaluation.base_score or evaluation.fact_answers, by subset and direction."""
    found: dict[tuple[str, str], list[PartMeasure]] = {}
    for _, line in numbered_lines((folder / "items.jsonl").read_bytes().split(b"\n")):
        record = parse_json_line(line)
        (value,) = record["measures"].values()
        measure = PartMeasure("", Measure(*value), str(record["cluster"]))
        found.setdefault((record["subset"], record["direction"]), []).append(measure)
    return found


def add_choices(section: Section, rows: Sequence[FactRow]) -> None:
    """The choices about each group of facts: a heading and a table."""
    for group in GROUPS:
        section.heading(LABELS[group].capitalize())
        heads, lines = choices_table(rows, group)
        section.table(heads, [list(line) for line in lines])


def choices_table(rows: Sequence[FactRow], group: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the choices about one group's facts: accuracy with its interval, in per cent."""
    return cells_table(rows, [row.facts.scores.get(group, {}) for row in rows], CELLS)


def answers_table(rows: Sequence[FactRow], group: str) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the answers about one group's facts; no rows where nothing was asked."""
    asked = [row for row in rows if row.facts.answers]
    return cells_table(asked, [row.facts.answers.get(group, {}) for row in asked], ANSWER_CELLS)


def cells_table(
    rows: Sequence[FactRow], means: Sequence[Mapping[ChoiceCell, MeanScore]], cells: Sequence[ChoiceCell]
) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of means, without cells that no row has."""
    shown = [cell for cell in cells if any(cell in own for own in means)]
    lines = [
        [row.label, str(row.num_seeds), *(score_text(own[cell]) if cell in own else MISSING for cell in shown)]
        for row, own in zip(rows, means, strict=True)
    ]
    return ["setting", "seeds", *(cell.head for cell in shown)], lines


def score_text(mean: MeanScore) -> str:
    """``92 (88 to 95)``, in per cent."""
    low, high = mean.interval
    return f"{100 * mean.micro:.0f} ({100 * low:.0f} to {100 * high:.0f})"
