"""Files of an ablation: ``ablation.md``, ``ablation.html`` (one file, opens offline), ``.png`` and ``.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg

from recipes.reporting.blocks import Section, png_uri
from recipes.reporting.page import render_page
from runtime.artefact import atomic_path, write_json, write_text

from .figure import ablation_figure
from .plan import Ablation
from .table import PAPER_HEADS, PAPER_NOTE, PAPER_ROWS, PAPER_TITLE, Scores, gather, table

READING = (
    "WER is of the tokenizer's own back half on held-out speech, through the tokens; 'without VQ' is the same net with"
    " the quantiser bypassed. UED is the unit edit distance: the edits that turn the clean audio's tokens into the"
    " noised audio's, divided by the clean tokens; the mean over the kinds of noise at that SNR. Read it with the"
    " perplexity: a codebook of which little is used changes little. Speed is of encoding (log-mel included) on one"
    " core, each point measured alone on the machine. Codebook sizes that were not swept go with the frame rate"
    " (by_frame_rate in the recipe)."
)


def write_ablation(ablation: Ablation, failed: Mapping[str, str], command: str) -> None:
    """Write all four files into the ablation's folder, each atomically.

    Args:
        ablation: what was run.
        failed: steps that failed, and why.
        command: the command line that made it.
    """
    rows = gather(ablation)
    figure = ablation_figure(rows)
    with atomic_path(ablation.out / "ablation.png") as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary), metadata={"Software": None})
    facts = about(ablation, rows, command)
    report = {"about": facts, "points": [row.plain() for row in rows], "failed": dict(failed)}
    write_json(ablation.out / "ablation.json", report)
    write_text(ablation.out / "ablation.md", markdown(rows, facts, failed))
    picture = png_uri((ablation.out / "ablation.png").read_bytes())
    write_text(ablation.out / "ablation.html", html(rows, facts, failed, picture))


def about(ablation: Ablation, rows: Sequence[Scores], command: str) -> dict[str, str]:
    """Provenance: command, corpus, budget, seeds, versions."""
    config = ablation.config
    seeds = sorted({str(row.point.options.get("seed", config.seed)) for row in rows})
    made = [row.made_by for row in rows if row.made_by]
    versions: dict[str, set[str]] = {}
    for record in made:
        for package, version in record["versions"].items():
            versions.setdefault(package, set()).add(version)
    budget = "equal steps, hence equal data"
    if config.budget == "cpu_seconds":
        budget = f"equal CPU time: {config.cpu_seconds:g} CPU-seconds a training, steps by calibration"
    return {
        "command": command,
        "corpus": config.corpus or "built-in (options under build in the recipe)",
        "budget": budget,
        "seeds": ", ".join(seeds),
        "versions": "; ".join(f"{package} {' / '.join(sorted(found))}" for package, found in versions.items()),
        "git commit": ", ".join(sorted({str(record.get("git_commit")) for record in made})),
    }


def markdown(rows: Sequence[Scores], facts: Mapping[str, str], failed: Mapping[str, str]) -> str:
    """The text of ``ablation.md``."""
    lines = ["# Tokenizer ablation", "", *(f"- {name}: `{fact}`" for name, fact in facts.items()), ""]
    lines += [*markdown_table(*table(rows)), "", "![plot](ablation.png)", "", READING, ""]
    lines += [f"## {PAPER_TITLE}", "", *markdown_table(PAPER_HEADS, PAPER_ROWS), "", PAPER_NOTE, ""]
    if failed:
        lines += ["## Failed", "", *(f"- {name}: {reason}" for name, reason in failed.items()), ""]
    return "\n".join(lines)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown, its columns aligned for reading as text."""
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    lines = [heads, ["-" * width for width in widths], *rows]
    return [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]


def html(rows: Sequence[Scores], facts: Mapping[str, str], failed: Mapping[str, str], picture: str) -> str:
    """The text of ``ablation.html``, in the report's template."""
    ours, paper, how = Section("Points"), Section("Paper"), Section("How it was made")
    heads, cells = table(rows)
    ours.table(heads, [list(line) for line in cells])
    ours.image(picture, "word error rates, bit rates and token edit distances of all points")
    ours.text(READING)
    paper.text(PAPER_TITLE)
    paper.table(PAPER_HEADS, [list(line) for line in PAPER_ROWS])
    paper.text(PAPER_NOTE)
    how.table(["what", ""], [[name, fact] for name, fact in facts.items()])
    sections = [ours, paper, how]
    if failed:
        missing = Section("Failed")
        missing.table(["step", "why"], [[name, reason] for name, reason in failed.items()])
        sections.append(missing)
    return render_page("speechweave: tokenizer ablation", facts["command"], sections)
