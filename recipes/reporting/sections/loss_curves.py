"""Loss curves of every training step."""

from __future__ import annotations

from recipes.reporting import figures
from recipes.reporting.blocks import Section
from recipes.reporting.run_results import Results


def curves_section(results: Results) -> Section | None:
    """Loss curves of every training step."""
    curves = {step: rows for step, rows in results.curves().items() if any("loss" in row for row in rows)}
    if not curves:
        return None
    section = Section("Loss curves")
    section.image(figures.loss_curves(curves), "training and validation losses by step")
    return section
