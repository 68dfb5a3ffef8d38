"""Files of an ablation: ``ablation.md``, ``ablation.html`` (one file, opens offline), ``.png`` and ``.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from recipes.reporting.blocks import Section, png_uri
from runtime.artefact import atomic_path, write_json, write_text


def write_ablation_files(
    out: Path, *, figure: Figure, report: Mapping[str, Any], text: str, page: Callable[[str], str]
) -> None:
    """Write all four files, each atomically.

    Args:
        out: the ablation's folder.
        figure: becomes the picture.
        report: plain data.
        text: Markdown, which shows the picture as ``ablation.png``.
        page: the HTML in which the picture stands, of the picture as a data URI.
    """
    with atomic_path(out / "ablation.png") as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata={"Software": None})
    write_json(out / "ablation.json", dict(report))
    write_text(out / "ablation.md", text)
    write_text(out / "ablation.html", page(png_uri((out / "ablation.png").read_bytes())))


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, its columns aligned for reading as text."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    lines = [heads, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]


def failures_in_markdown(failed: Mapping[str, str]) -> list[str]:
    """The lines of a chapter of failed steps and their reasons; none where none failed."""
    return ["## Failed", "", *(f"- {name}: {reason}" for name, reason in failed.items()), ""] if failed else []


def closing_sections(about: Mapping[str, str], failed: Mapping[str, str]) -> list[Section]:
    """The last sections of the page: provenance, and failed steps where there are any."""
    how = Section("How it was made")
    how.table(["what", ""], [[name, value] for name, value in about.items()])
    if not failed:
        return [how]
    missing = Section("Failed")
    missing.table(["step", "why"], [[name, reason] for name, reason in failed.items()])
    return [how, missing]
