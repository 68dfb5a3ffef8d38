"""Scores of a benchmark as a Markdown table, published rows below ours."""

from __future__ import annotations

from collections.abc import Sequence

from evaluation.benchmarks.benchmark import Benchmark
from runtime.errors import UserError

from .stamp import ScoredRule

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


def score_table(benchmark: Benchmark, scored: Sequence[ScoredRule]) -> str:
    """The table: every mean of every rule, with failures and notes, also where there are none."""
    if not scored:
        remedy = "give judgements=, or choose a rule that needs no judge"
        raise UserError(f"benchmark {benchmark.name}", found="no rule was scored", remedy=remedy)
    first = scored[0].stamp
    lines = [
        f"# {benchmark.summary}",
        "",
        f"{first.model} ({first.model_digest}); data {first.data_digest}: {first.items} items, {first.left_out} bad "
        f"rows left out, {first.repeated} repeated prompts; {first.failures} without an answer; shots {first.shots}; "
        f"batch {first.batch_size}; seed {first.answer_seed}.",
        "",
        f"| {' | '.join(HEADINGS)} |",
        f"|{'---|' * len(HEADINGS)}",
    ]
    for one in scored:
        scale = benchmark.rule(one.stamp.rule).scale
        rule = one.stamp.rule + (" (official)" if one.stamp.compat == "official" else "")
        notes = ", ".join(f"{count} {note}" for note, count in one.score.notes.items()) or "none"
        for name, mean in one.score.means.items():
            low, high = mean.interval
            values = [f"{mean.micro * scale:.2f}", f"{low * scale:.2f} to {high * scale:.2f}", str(mean.items)]
            values += [f"{mean.macro * scale:.2f}", f"{mean.subset_mean * scale:.2f}", notes]
            lines.append(f"| {' | '.join([rule, arrow(one.stamp.direction), name, *values])} |")
        for name, value in one.score.combined.items():
            lines.append(
                f"| {rule} | {arrow(one.stamp.direction)} | **{name}** | {value * scale:.2f} | | | | | {notes} |"
            )
    if benchmark.published:
        lines += ["", "Published:", "", "| model | direction | score | source |", "|---|---|---|---|"]
        lines += [f"| {one.model} | {one.direction} | {one.value:g} | {one.source} |" for one in benchmark.published]
    return "\n".join(lines) + "\n"


def arrow(direction: str) -> str:
    """A direction as papers print it: ``S->T`` for ``s2t``."""
    return direction.upper().replace("2", "->")
