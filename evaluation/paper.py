"""Stage ``evaluation.paper``: the paper's tables with our rows: every score on one page, each linked to its stamp.

    python -m evaluation.paper 'scores=[runs/trivia/scores,runs/webq/scores]' out=runs/paper

Reads any number of outputs of evaluate score (and of the likelihood scores of base models), puts ours above the rows
that the paper and its peers published, and writes <out>/paper.html, paper.md and stamps.json. Scores that differ in
anything but the model (data, rule, judge, recogniser, shots, failures) are shown as no comparison.
"""

from __future__ import annotations

from runtime.stage import Stage

from .overview.config import OverviewConfig

STAGE = Stage(
    name="evaluation.paper",
    config=OverviewConfig,
    implementation="evaluation.overview.page:write_overview",
    summary="All scores on one page, with the paper's and its peers' rows; each cell is linked to its stamp.",
    inputs=lambda config: config.scores,
    example="'scores=[runs/trivia/scores,runs/webq/scores]' out=runs/paper",
)

if __name__ == "__main__":
    STAGE.exit()
