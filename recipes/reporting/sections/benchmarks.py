"""Scores of the run's models on evaluation sets, with intervals."""

from __future__ import annotations

from typing import Any

from evaluation.benchmarks.table import BENCHMARKS
from evaluation.scores.score_table import arrow
from recipes.reporting.blocks import Section
from recipes.reporting.run_results import Results

SCORING = "evaluation.score"


def benchmarks_section(results: Results) -> Section | None:
    """A row for each measure of each rule of each step that scored answers."""
    rows: list[list[Any]] = []
    for step, entry in results.steps.items():
        found = results.read(step, "scores.json") if entry["module"] == SCORING else None
        for one in found["scores"] if found else []:
            stamp, benchmark = one["stamp"], BENCHMARKS[one["stamp"]["benchmark"]]
            scale = benchmark.rule(stamp["rule"]).scale
            for name, mean in one["score"]["means"].items():
                low, high = (f"{edge * scale:.1f}" for edge in mean["interval"])
                notes = ", ".join(f"{count} {note}" for note, count in one["score"]["notes"].items()) or "none"
                rule = stamp["rule"] + (" (official)" if stamp["compat"] == "official" else "")
                score = f"{mean['micro'] * scale:.1f} ({low} to {high})"
                rows.append(
                    [benchmark.summary, arrow(stamp["direction"]), f"{rule}, {name}", score, mean["items"], notes]
                )
    if not rows:
        return None
    section = Section("Benchmarks")
    section.text("Scores with 95 % intervals over items; their stamps stand in each step's scores.json.")
    section.table(["set", "direction", "rule", "score", "items", "notes"], rows)
    return section
