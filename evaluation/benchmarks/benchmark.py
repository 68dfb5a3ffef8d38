"""A benchmark: how its rows are read, by which rules its answers are scored, and what others published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from evaluation.rules.measure import MeanScore
from evaluation.rules.rule import Rule
from evaluation.sets.item import EvaluationItem
from evaluation.sets.reading import ItemReader


class PublishedScore(NamedTuple):
    """A score that others published: the model, the direction (``S->T``), the value as printed, and its source."""

    model: str
    direction: str
    value: float
    source: str
    column: str = ""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark.

    Attributes:
        name: unique; on command lines.
        summary: one line for ``--help`` and tables.
        read_item: a row as an item.
        rules: the first is the headline.
        combine: overall numbers out of the means of one rule.
        instruction: sent with the spoken prompt; "" where the audio alone is the prompt.
        max_new_tokens: of an answer.
        published: rows for comparison with ours.
        official_row: an item and its answer in the layout of the benchmark's own script; None where it has none.
        official_file: name of the file that the script reads, with ``{model}`` and ``{subset}``.
    """

    name: str
    summary: str
    read_item: ItemReader
    rules: tuple[Rule, ...]
    combine: Callable[[Mapping[str, MeanScore]], Mapping[str, float]] | None = None
    instruction: str = ""
    max_new_tokens: int = 512
    published: tuple[PublishedScore, ...] = ()
    official_row: Callable[[EvaluationItem, str], Mapping[str, Any]] | None = None
    official_file: str = "{model}-{subset}.jsonl"
    notes: Mapping[str, str] = field(default_factory=dict)

    def rule(self, name: str) -> Rule:
        """The rule of that name."""
        return next(rule for rule in self.rules if rule.name == name)
