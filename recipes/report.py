"""Report of a run: one HTML file that opens offline, and one flat ``metrics.json``.

It reads nothing but what the steps left in their folders, so that it can be made again at any time:
``speechweave report run=runs/quickstart out=runs/quickstart/report``.
"""

from __future__ import annotations

from pathlib import Path

from runtime.artefact import read_json
from runtime.stage import Stage

from .reporting.config import ReportConfig


def sources(config: ReportConfig) -> list[str | None]:
    """Inputs: folders of finished steps, as ``plan.json`` lists them, and the page's evaluation."""
    plan = read_json(Path(config.run) / "recipe" / "plan.json")
    folders = [entry["folder"] for entry in plan["steps"].values() if entry["module"] != "recipes.report"]
    finished = [folder for folder in folders if (Path(folder) / Stage.DONE).exists()]
    page = Path(config.run) / "page" / "page.json"  # of evaluation.page, which is no step
    return [*finished, str(page)] if page.exists() else finished


STAGE = Stage(
    name="recipes.report",
    config=ReportConfig,
    implementation="recipes.reporting.contents:write_report",
    summary="Write the one-file HTML report and metrics.json of a run",
    inputs=sources,
    example="run=runs/quickstart out=runs/quickstart/report",
)

if __name__ == "__main__":
    STAGE.exit()
