"""Headline metrics of evaluations that have no section of their own."""

from __future__ import annotations

from typing import Any

from recipes.reporting.blocks import Section, percent
from recipes.reporting.run_results import HEADLINE_ORDER, Results


def further_section(results: Results) -> Section | None:
    """A row for each headline metric that no other section shows."""
    rows: list[list[Any]] = [
        [found.step, found.headline.label, percent(found.value) if found.headline.is_rate else found.value]
        for found in results.headlines()
        if found.name not in HEADLINE_ORDER
    ]
    if not rows:
        return None
    section = Section("Further evaluations")
    section.table(["step", "metric", "value"], rows)
    return section
