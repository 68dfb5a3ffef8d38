"""Content of the files of an ablation of the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from corpus.world.made_up_facts import GROUPS
from recipes.reporting.blocks import Section
from recipes.reporting.fact_figure import fact_figure
from recipes.reporting.fact_scores import GENERATION, LABELS, READING, add_choices, answers_table, choices_table
from recipes.reporting.page import render_page
from runtime.artefact import read_json
from runtime.stage import Stage

from .files import closing_sections, failures_in_markdown, markdown_table, write_ablation_files
from .lm_plan import LmAblation
from .lm_table import PAPER_HEADS, PAPER_ROWS, PAPER_TITLE, Setting, gather_settings, source_table


def write_lm_ablation(ablation: LmAblation, failed: Mapping[str, str], command: str) -> None:
    """Write all four files into the ablation's folder, each atomically.

    Args:
        ablation: what was run.
        failed: steps that failed, and why.
        command: the command line that made it.
    """
    settings = gather_settings(ablation)
    about = provenance_of(ablation, command)
    rows = [setting.as_plain() for setting in settings]
    write_ablation_files(
        ablation.out,
        figure=fact_figure([setting.row for setting in settings]),
        report={"about": about, "settings": rows, "failed": dict(failed)},
        text=markdown(ablation, settings, about, failed),
        page=lambda picture: html(ablation, settings, about, failed, picture),
    )


def provenance_of(ablation: LmAblation, command: str) -> dict[str, str]:
    """Command, inputs, budget, rule, versions and commit."""
    config = ablation.config
    records = [
        read_json(folder / "run.json")
        for point in ablation.points
        if ((folder := ablation.folder(point) / "lm") / Stage.DONE).exists()
    ]
    versions = {f"{name} {version}" for record in records for name, version in record["versions"].items()}
    return {
        "command": command,
        "corpus": config.corpus,
        "steps of a training": str(config.steps),
        "rule": config.rule,
        "versions": "; ".join(sorted(versions)),
        "git commit": ", ".join(sorted({str(record.get("git_commit")) for record in records})),
    }


def markdown(
    ablation: LmAblation, settings: Sequence[Setting], about: Mapping[str, str], failed: Mapping[str, str]
) -> str:
    """The text of ``ablation.md``."""
    shown = [setting.row for setting in settings]
    lines = ["# Ablation of the language model", "", *(f"- {name}: `{value}`" for name, value in about.items()), ""]
    lines += [READING, "", "![plot](ablation.png)", ""]
    for group in GROUPS:
        lines += [f"## {LABELS[group].capitalize()}", "", *markdown_table(*choices_table(shown, group)), ""]
    if any(row.facts.answers for row in shown):
        lines += ["## Answers by generation", "", GENERATION, ""]
        for group in GROUPS:
            lines += [f"### {LABELS[group].capitalize()}", "", *markdown_table(*answers_table(shown, group)), ""]
    heads, rows = source_table(ablation)
    if rows:
        lines += ["## Spans", "", *markdown_table(heads, rows), ""]
    lines += [f"## {PAPER_TITLE}", "", *markdown_table(PAPER_HEADS, PAPER_ROWS), ""]
    return "\n".join([*lines, *failures_in_markdown(failed)])


def html(
    ablation: LmAblation,
    settings: Sequence[Setting],
    about: Mapping[str, str],
    failed: Mapping[str, str],
    picture: str,
) -> str:
    """The text of ``ablation.html``, in the report's template."""
    shown = [setting.row for setting in settings]
    scores, runs, paper = Section("Scores"), Section("Runs"), Section("Paper")
    scores.text(READING)
    scores.image(picture, "share of false answers beaten, by group and direction")
    add_choices(scores, shown)
    if any(row.facts.answers for row in shown):
        scores.heading("Answers by generation")
        scores.text(GENERATION)
        for group in GROUPS:
            scores.heading(f"Answers: {LABELS[group]}")
            heads, rows = answers_table(shown, group)
            scores.table(heads, [list(row) for row in rows])
    heads, rows = source_table(ablation)
    if rows:
        scores.heading("Spans")
        scores.table(heads, [list(row) for row in rows])
    runs.table(["point", "folder"], [[point.label, f"points/{point.name}"] for point in ablation.points])
    paper.text(PAPER_TITLE)
    paper.table(PAPER_HEADS, [list(row) for row in PAPER_ROWS])
    sections = [scores, runs, paper, *closing_sections(about, failed)]
    return render_page("speechweave: ablation of the language model", about["command"], sections)
