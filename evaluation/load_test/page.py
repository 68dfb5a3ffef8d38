"""Tables and plot of a load test, as Markdown and as one HTML file."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from evaluation.served_chat.table import QUANTILES, line
from runtime.artefact import atomic_path

from .metrics import METRICS, ServingMetric, is_slowest

TEMPLATE = Path(__file__).with_name("serving.html.j2")
PLOTTED = ("ttft", "audio_ttfp", "audio_rtf", "e2el")
COUNTS = {
    "requests": "requests",
    "failures": "failures",
    "without_audio": "without audio",
    "gapped": "replies with gaps",
    "gaps": "gaps",
}
SLOWEST = "\\*: of so few values the percentile is the slowest one."


class Measurement(NamedTuple):
    """The summary of all requests at one number of talkers, the machine's load, the server's CPU seconds a request."""

    talkers: int
    summary: dict[str, float]
    load: float
    cpu_seconds: float | None


class ServingPage(NamedTuple):
    """All that the page shows."""

    model: str
    interface: str
    machine: str
    rows: Sequence[Measurement]


class Table(NamedTuple):
    """One table: its heading, its definition, the head of its columns and its rows."""

    heading: str
    definition: str
    head: list[str]
    rows: list[list[str]]


def tables(page: ServingPage) -> Iterator[Table]:
    """The table of counts, and one of each metric."""
    head = ["talkers", *COUNTS.values(), "longest gap, s", "server's CPU, s a request", "machine's load"]
    rows = []
    for row in page.rows:
        cpu = "-" if row.cpu_seconds is None else f"{row.cpu_seconds:.2f}"
        counts = [f"{row.summary[key]:g}" for key in COUNTS]
        rows.append([str(row.talkers), *counts, f"{row.summary['longest_gap']:.3f}", cpu, f"{row.load:.1f}"])
    yield Table("Requests", "all that were sent; failures have no times", head, rows)
    for metric in METRICS:
        heading = f"{metric.name}, {metric.unit}" if metric.unit else metric.name
        body = [[str(row.talkers), *cells(row.summary, metric)] for row in page.rows]
        yield Table(heading, metric.definition, ["talkers", "n", *QUANTILES], body)


def cells(summary: dict[str, float], metric: ServingMetric) -> list[str]:
    """The number of values and the percentiles of a metric; an asterisk marks those that are the slowest value."""
    count = int(summary[f"{metric.name}.n"])
    found = [str(count)]
    for quantile in QUANTILES:
        value = summary.get(f"{metric.name}.{quantile}")
        mark = "*" if is_slowest(count, quantile) else ""
        found.append("-" if value is None else f"{value:.3f}{mark}")
    return found


def markdown(page: ServingPage) -> str:
    """The page as Markdown."""
    lines = [f"# Serving: {page.model}", "", f"{page.interface}; {page.machine}", ""]
    for table in tables(page):
        lines += [f"## {table.heading}", "", f"{table.definition[0].upper()}{table.definition[1:]}.", ""]
        lines += line(table.head, is_head=True)
        for row in table.rows:
            lines += line([cell.replace("*", "\\*") for cell in row])
        lines.append("")
    return "\n".join([*lines, SLOWEST, ""])


def html(page: ServingPage, picture: Path) -> str:
    """The page as one HTML file without scripts, the plot in it."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    image = "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
    return template.render(page=page, tables=list(tables(page)), image=image, slowest=SLOWEST.removeprefix("\\"))


def draw_latencies(file: Path, rows: Sequence[Measurement]) -> None:
    """Write a PNG: the percentiles of each time against the number of talkers."""
    figure = Figure(figsize=(10, 5.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    units = {metric.name: metric.unit for metric in METRICS}
    for axes, name in zip(figure.subplots(2, 2).flat, PLOTTED, strict=True):
        for quantile in QUANTILES:
            points = [
                (row.talkers, row.summary[f"{name}.{quantile}"]) for row in rows if f"{name}.{quantile}" in row.summary
            ]
            axes.plot([x for x, _ in points], [y for _, y in points], "o-", label=quantile, markersize=3)
        if name == "audio_rtf":
            axes.axhline(1.0, color="#888888", linewidth=0.8, linestyle=":")
        axes.set_xscale("log", base=2)
        axes.set_xticks([row.talkers for row in rows], [str(row.talkers) for row in rows])
        axes.set_ylim(bottom=0)
        axes.set(title=name, xlabel="talkers", ylabel=units[name] and "seconds")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(fontsize=7, frameon=False)
    with atomic_path(file) as temporary:
        figure.savefig(temporary, metadata={"Software": None})
