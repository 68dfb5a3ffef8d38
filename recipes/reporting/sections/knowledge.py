"""Knowledge from texts in speech: made-up facts with and without their texts among the interleaved documents."""

from __future__ import annotations

from corpus.world.made_up_facts import GROUPS
from recipes.reporting import figures
from recipes.reporting.blocks import Section, percent
from recipes.reporting.fact_figure import fact_figure
from recipes.reporting.fact_scores import (
    GENERATION,
    LABELS,
    READING,
    FactRow,
    add_choices,
    answers_table,
    read_fact_scores,
)
from recipes.reporting.run_results import Results

SETTINGS = {"fact_plain": "without interleaved texts", "fact_interleaved": "with interleaved texts"}


def knowledge_section(results: Results) -> Section | None:
    """Choices and answers about each group of facts, with their intervals and a plot; None where none was scored."""
    rows = [row for step, label in SETTINGS.items() if (row := row_of(results, step, label)) is not None]
    if not rows:
        return None
    section = Section("Knowledge from text in speech")
    section.text(
        "Two language models that go on from one base, with the same number of steps: one reads texts about facts as "
        "interleaved documents too, one does not. " + READING
    )
    section.image(figures.data_uri(fact_figure(rows)), "share of false answers beaten, with and without interleaving")
    add_choices(section, rows)
    if any(row.facts.answers for row in rows):
        section.heading("Answers by generation")
        section.text(GENERATION)
        for group in GROUPS:
            heads, lines = answers_table(rows, group)
            section.table([LABELS[group], *heads[1:]], [list(line) for line in lines])
    spans = results.metrics_of("fact_readback")
    if spans:
        section.text(
            f"Word errors of the interleaved spans, read back: {percent(spans.get('span_wer'))}; of the synthesisers' "
            f"own tokens of the same words: {percent(spans.get('span_wer_of_real_tokens'))}. The intervals are over "
            "entities, of one training each."
        )
    return section


def row_of(results: Results, step: str, label: str) -> FactRow | None:
    """The scores of one model, or None where they are not there."""
    chosen, asked = (results.folder(f"{step}_{part}") for part in ("scores", "answers"))
    return None if chosen is None else FactRow(label, None, 1, read_fact_scores([chosen], [asked] if asked else []))
