"""Options of recipes.report."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class ReportConfig(StageConfig):
    """Options of the report.

    Attributes:
        run: run folder of a recipe; report.html and metrics.json are written into it.
        examples: how many spoken questions and answers to show with sound in the proportion of right and wrong ones.
    """

    run: str
    examples: int = option(12, at_least=1)
