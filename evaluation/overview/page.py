"""The page of all scores, as HTML and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from evaluation.benchmarks.table import BENCHMARKS
from runtime.artefact import write_json, write_text
from runtime.stage import Run

from .collection import BenchmarkTable, Cell, read_cells, score_files, tables_of
from .config import OverviewConfig
from .modality_gap import ModalityGap, modality_gaps

TEMPLATE = Path(__file__).with_name("paper.html.j2")
NO_COMPARISON = "These scores were made under different conditions (see their stamps): they are no comparison."

GAP = "A model's score in T->T less its score on the same items in another direction, the items paired."


def write_overview(config: OverviewConfig, run: Run) -> dict[str, Any]:
    """Collect the scores and write the page; returns the headline scores."""
    files = score_files(config.scores)
    found = [cell for file in files for cell in read_cells(file, BENCHMARKS)]
    cells = list({(cell.anchor, cell.value): cell for cell in found}.values())  # what was scored twice counts once
    tables, gaps = tables_of(cells, BENCHMARKS), list(dict.fromkeys(modality_gaps(files, BENCHMARKS)))
    text = markdown(config.title, tables, gaps)
    write_text(run.folder / "paper.md", text)
    write_text(run.folder / "paper.html", html(config.title, tables, gaps))
    write_json(run.folder / "stamps.json", {cell.anchor: dict(cell.stamp) | {"source": cell.source} for cell in cells})
    run.say(text)
    headlines = {
        f"{cell.benchmark}.{cell.direction}.{cell.model}": round(cell.value, 4) for cell in cells if cell.is_headline
    }
    differences = {f"gap.{one.benchmark}.{one.rule}.{one.direction}.{one.model}": round(one.gap, 4) for one in gaps}
    return {"scores": len(cells)} | headlines | differences


def shown(cell: Cell) -> str:
    """A score with its interval and the number of failures, where there are any."""
    words = f"{cell.value:.{cell.digits}f}"
    if cell.interval is not None:
        words += f" ({cell.interval[0]:.{cell.digits}f} to {cell.interval[1]:.{cell.digits}f})"
    return words + (f", {cell.failures} without an answer or left out" if cell.failures else "")


def markdown(title: str, tables: Sequence[BenchmarkTable], gaps: Sequence[ModalityGap] = ()) -> str:
    """The page as Markdown; each score is linked to its stamp below."""
    lines = [f"# {title}", ""]
    for table in tables:
        lines += [f"## {table.summary}", "", *([NO_COMPARISON, ""] if not table.are_comparable else [])]
        lines += ["| model | direction | rule | score (95 % interval) |", "|---|---|---|---|"]
        for cell in table.cells:
            name = f"**{cell.model}**" if cell.is_headline else cell.model
            lines.append(f"| {name} | {cell.direction} | {cell.rule} | [{shown(cell)}](#{cell.anchor}) |")
        for one in table.published:
            lines.append(
                f"| {one.model} | {one.direction} | {one.column or 'published'} | {one.value:g} ({one.source}) |"
            )
        lines.append("")
    if gaps:
        lines += ["## Modality gap", "", GAP, ""]
        lines += ["| benchmark | model | rule | direction | T->T | it | gap (95 % interval) | items |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for gap in gaps:
            low, high = gap.interval
            numbers = f"{gap.text:.1f} | {gap.other:.1f} | {gap.gap:.1f} ({low:.1f} to {high:.1f}) | {gap.items}"
            lines.append(f"| {gap.benchmark} | {gap.model} | {gap.rule} | {gap.direction} | {numbers} |")
        lines.append("")
    lines += ["## Stamps", ""]
    for cell in (cell for table in tables for cell in table.cells):
        stamp = json.dumps(dict(cell.stamp), indent=2, ensure_ascii=False)
        heading = f"{cell.benchmark}, {cell.direction}, {cell.rule}, {cell.model}"
        lines += [f'<a id="{cell.anchor}"></a>', f"### {heading}", "", "```json", stamp, "```", ""]
    return "\n".join(lines)


def html(title: str, tables: Sequence[BenchmarkTable], gaps: Sequence[ModalityGap] = ()) -> str:
    """The page as one HTML file without scripts."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["shown"] = shown
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=title, tables=tables, gaps=gaps, about_gaps=GAP, no_comparison=NO_COMPARISON)
