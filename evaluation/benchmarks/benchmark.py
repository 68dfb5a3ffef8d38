"""A benchmark: how its rows are read, by which rules its answers are scored, and what others published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from evaluation.rules.measure import SetScore
from evaluation.rules.rule import Rule
from evaluation.sets.item import EvaluationItem, WorkedExample
from evaluation.sets.reading import ItemReader


class PublishedScore(NamedTuple):
    """A score that others published: the model, the direction (``S->T``), the value as printed, and its source."""

    model: str
    direction: str
    value: float
    source: str
    column: str = ""


class PublishedShots(Protocol):
    """Reader of a published set's own worked examples."""

    def __call__(self, root: Path, item: EvaluationItem, count: int, *, is_spoken: bool) -> tuple[WorkedExample, ...]:
        """The first ``count`` for a question, out of the set's folder; with their sounds where ``is_spoken``.

        Raises:
            UserError: there are fewer, or a part is missing.
        """
        ...


def subset_file(item: EvaluationItem, model: str, direction: str) -> str:
    """One file for each subset."""
    return f"{model}-{item.subset}.jsonl" if item.subset else f"{model}.jsonl"


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: unique; on command lines.
        summary: one line for ``--help`` and tables.
        read_item: a row as an item.
        rules: the first is the headline.
        overall: numbers out of the scores by several rules (by name), printed as they are; none of what lacks a part.
        instruction: sent with the spoken prompt; "" where the audio alone is the prompt.
        max_new_tokens: of an answer.
        published_shots: worked examples that the published set has with it; None where it has none.
        choices: the written options of every question, for base models that choose the likeliest; none elsewhere.
        published: rows for comparison with ours.
        official_row: an item and its answer in the layout of the benchmark's own script; None where it has none.
        official_file: name of the script's file, of an item, a model's name and a direction.
        official_files: where the script reads several files of an item: rows by the file's name, of an item, its
            written answer and the transcript of its spoken one (None where there is none); instead of the two above.
        notes: on what is not scored and why, by measure.
    """

    name: str
    summary: str
    read_item: ItemReader
    rules: tuple[Rule, ...]
    overall: Callable[[Mapping[str, SetScore]], Mapping[str, float]] | None = None
    instruction: str = ""
    max_new_tokens: int = 512
    published_shots: PublishedShots | None = None
    choices: tuple[str, ...] = ()
    published: tuple[PublishedScore, ...] = ()
    official_row: Callable[[EvaluationItem, str], Mapping[str, Any]] | None = None
    official_file: Callable[[EvaluationItem, str, str], str] = subset_file
    official_files: Callable[[EvaluationItem, str | None, str | None], Mapping[str, Mapping[str, Any]]] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def rule(self, name: str) -> Rule:
        """The rule of that name."""
        return next(rule for rule in self.rules if rule.name == name)
