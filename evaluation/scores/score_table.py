"""Scores of a benchmark as a Markdown table, its subsets and published rows below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from evaluation.benchmarks.benchmark import PublishedScore
from runtime.errors import UserError

from .stamp import JudgeCounts, OverallScore, ScoredRule

HEADINGS = (
    "rule",
    "direction",
    "measure",
    "mean",
    "95 % interval",
    "items",
    "mean of items",
    "mean of subsets",
    "notes",
)


class PrintedRule(Protocol):
    """A rule, as far as the table needs it."""

    @property
    def headline(self) -> str:
        """The measure that is printed first."""
        ...

    @property
    def scale(self) -> float:
        """By which its means are multiplied."""
        ...


class PrintedBenchmark(Protocol):
    """A benchmark, as far as the table needs it."""

    @property
    def name(self) -> str:
        """On command lines."""
        ...

    @property
    def summary(self) -> str:
        """The table's title."""
        ...

    @property
    def published(self) -> tuple[PublishedScore, ...]:
        """Rows for comparison."""
        ...

    @property
    def notes(self) -> Mapping[str, str]:
        """Printed below the table."""
        ...

    def rule(self, name: str) -> PrintedRule:
        """The rule of that name."""
        ...


def score_table(benchmark: PrintedBenchmark, scored: Sequence[ScoredRule], overall: Sequence[OverallScore] = ()) -> str:
    """The table: every mean of every rule, with failures and notes, also where there are none."""
    if not scored:
        remedy = "give judgements=, or choose a rule that needs no judge"
        raise UserError(f"benchmark {benchmark.name}", found="no rule was scored", remedy=remedy)
    first = scored[0].stamp
    lines = [
        f"# {benchmark.summary}",
        "",
        f"{first.model} ({first.model_digest}); data {first.data_digest}: {first.left_out} bad rows left out, "
        f"{first.repeated} repeated prompts; {first.failures} without an answer; shots {first.shots}; "
        f"batch {first.batch_size}; seed {first.answer_seed}.",
        "",
        *judge_lines(scored),
        *overall_lines(overall),
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
    ]
    for one in scored:
        lines += rows_of_rule(benchmark, one)
    lines += subset_lines(benchmark, scored)
    if benchmark.notes:
        lines += ["", *(f"* {name}: {note}" for name, note in benchmark.notes.items())]
    if benchmark.published:
        lines += ["", "Published:", "", "| model | direction | score | column | source |", "|---|---|---|---|---|"]
        lines += [
            f"| {one.model} | {one.direction} | {one.value:g} | {one.column} | {one.source} |"
            for one in benchmark.published
        ]
    return "\n".join(lines) + "\n"


def judge_lines(scored: Sequence[ScoredRule]) -> Iterator[str]:
    """One line on the judge's replies for each rule that has one, an empty line behind them; zeros are printed."""
    lines = [
        f"* {judge_words(one.stamp.rule, one.stamp.direction, one.stamp.judge, one.judged)}"
        for one in scored
        if one.judged is not None and one.stamp.compat == "default"
    ]
    yield from [*lines, ""] if lines else []


def judge_words(rule: str, direction: str, judge: str, counts: JudgeCounts) -> str:
    """A sentence on the replies of a judge under a rule."""
    return (
        f"{judge} judges {rule} ({arrow(direction)}): {counts.asked} answers, {counts.unanswered} without a reply; "
        f"{counts.replies} replies, {counts.unreadable} unreadable"
    )


def overall_lines(overall: Sequence[OverallScore]) -> Iterator[str]:
    """One line for each overall number."""
    for one in overall:
        for name, value in one.values.items():
            yield f"**{name}** ({one.medium}, {one.compat}): {value:.2f}\n"


def rows_of_rule(benchmark: PrintedBenchmark, one: ScoredRule) -> Iterator[str]:
    """The rows of one rule: its headline first, combined numbers last."""
    rule = benchmark.rule(one.stamp.rule)
    name = named(one)
    notes = ", ".join(f"{count} {note}" for note, count in one.score.notes.items()) or "none"
    for measure in sorted(one.score.means, key=lambda measure: (measure != rule.headline, measure)):
        mean, scale = one.score.means[measure], rule.scale
        low, high = mean.interval
        values = [f"{mean.micro * scale:.2f}", f"{low * scale:.2f} to {high * scale:.2f}", str(mean.items)]
        values += [f"{mean.macro * scale:.2f}", f"{mean.subset_mean * scale:.2f}", notes]
        yield f"| {' | '.join([name, arrow(one.stamp.direction), measure, *values])} |"
    for measure, value in one.score.combined.items():
        yield f"| {name} | {arrow(one.stamp.direction)} | **{measure}** | {value * rule.scale:.2f} | | | | | {notes} |"
    if not one.score.means:
        yield f"| {name} | {arrow(one.stamp.direction)} | {rule.headline} | none | | 0 | | | {notes} |"


def subset_lines(benchmark: PrintedBenchmark, scored: Sequence[ScoredRule]) -> list[str]:
    """A table of the subsets, where a rule scored more than one."""
    lines = []
    for one in scored:
        scale = benchmark.rule(one.stamp.rule).scale
        for measure, mean in one.score.means.items():
            if len(mean.subsets) > 1:
                for subset, value in sorted(mean.subsets.items()):
                    low, high = (edge * scale for edge in mean.subset_intervals[subset])
                    cells = [named(one), arrow(one.stamp.direction), measure, subset, f"{value * scale:.2f}"]
                    lines.append(f"| {' | '.join([*cells, f'{low:.2f} to {high:.2f}'])} |")
    head = ["", "| rule | direction | measure | subset | mean | 95 % interval |", "|---|---|---|---|---|---|"]
    return [*head, *lines] if lines else []


def named(one: ScoredRule) -> str:
    """The rule's name, with its compat mode where it is the official one."""
    return one.stamp.rule + (" (official)" if one.stamp.compat == "official" else "")


def arrow(direction: str) -> str:
    """A direction as papers print it: ``S->T`` for ``s2t``."""
    return direction.upper().replace("2", "->")
