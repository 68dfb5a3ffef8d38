"""Options of evaluation.overview."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import check_option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class OverviewConfig(StageConfig):
    """Options of evaluation.overview.

    Attributes:
        scores: output folders of evaluation.score (or their scores.json), of any models and benchmarks; a folder that
            holds such folders takes all of them.
        title: of the page.
    """

    scores: list[str] = field(default_factory=list)
    title: str = "Evaluation"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.scores), "scores", self.scores, "name at least one output folder of evaluate score")
