"""Content of the files of a tokenizer ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recipes.reporting.blocks import Section
from recipes.reporting.page import render_page

from .figure import ablation_figure
from .files import closing_sections, failures_in_markdown, markdown_table, write_ablation_files
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
    facts = about(ablation, rows, command)
    write_ablation_files(
        ablation.out,
        figure=ablation_figure(rows),
        report={"about": facts, "points": [row.plain() for row in rows], "failed": dict(failed)},
        text=markdown(rows, facts, failed),
        page=lambda picture: html(rows, facts, failed, picture),
    )


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
    return "\n".join([*lines, *failures_in_markdown(failed)])


def html(rows: Sequence[Scores], facts: Mapping[str, str], failed: Mapping[str, str], picture: str) -> str:
    """The text of ``ablation.html``, in the report's template."""
    ours, paper = Section("Points"), Section("Paper")
    heads, cells = table(rows)
    ours.table(heads, [list(line) for line in cells])
    ours.image(picture, "word error rates, bit rates and token edit distances of all points")
    ours.text(READING)
    paper.text(PAPER_TITLE)
    paper.table(PAPER_HEADS, [list(line) for line in PAPER_ROWS])
    paper.text(PAPER_NOTE)
    sections = [ours, paper, *closing_sections(facts, failed)]
    return render_page("speechweave: tokenizer ablation", facts["command"], sections)
