"""Report of a run: one HTML file that opens offline, and one flat ``metrics.json``.

It reads nothing but what the steps left in their folders, so that it can be made again at any time:
``speechweave report run=runs/quickstart out=runs/quickstart/report``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.artefact import read_json
from runtime.config import option
from runtime.stage import Run, Stage, StageConfig


@dataclass(kw_only=True)
class ReportConfig(StageConfig):
    """Options of the report.

    Attributes:
        run: run folder of a recipe; report.html and metrics.json are written into it.
        examples: how many spoken questions and answers to show with sound in the proportion of right and wrong ones.
    """

    run: str
    examples: int = option(12, at_least=1)


def sources(config: ReportConfig) -> list[str | None]:
    """Inputs: folders of finished steps, as ``plan.json`` lists them, and the page's evaluation."""
    plan = read_json(Path(config.run) / "recipe" / "plan.json")
    folders = [entry["folder"] for entry in plan["steps"].values() if entry["module"] != "recipes.report"]
    finished = [folder for folder in folders if (Path(folder) / Stage.DONE).exists()]
    page = Path(config.run) / "page" / "page.json"  # of evaluation.page, which is no step
    return [*finished, str(page)] if page.exists() else finished


def run(config: ReportConfig, run: Run) -> dict[str, Any]:
    """Gather, draw and write."""
    from .reporting.contents import write_report

    with run.progress(1, "writing the report") as bar:
        write_report(Path(config.run), num_examples=config.examples)
        bar.update()
    return {"bytes": (Path(config.run) / "report.html").stat().st_size}


STAGE = Stage(
    name="recipes.report",
    config=ReportConfig,
    run=run,
    summary="Write the one-file HTML report and metrics.json of a run",
    inputs=sources,
    example="run=runs/quickstart out=runs/quickstart/report",
)

if __name__ == "__main__":
    STAGE.exit()
