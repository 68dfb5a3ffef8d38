"""Stage ``evaluation.export``: answers of a model in the files that a benchmark's own scripts read.

    python -m evaluation.export benchmark=speech_instruct_bench data=sets/speech_instruct answers=runs/sib/answers \\
        out=runs/sib/official

Writes <out>/files/: one JSON-lines file for each subset, in the benchmark's naming, so that its published scripts run
unchanged. An item without an answer has an empty one.
"""

from __future__ import annotations

from typing import Any

from runtime.stage import Run, Stage

from .answers.config import OfficialFilesConfig


def run(config: OfficialFilesConfig, run: Run) -> dict[str, Any]:
    """Write the files."""
    from .answers.official_files import write_official_files

    return write_official_files(config, run)


STAGE = Stage(
    name="evaluation.export",
    config=OfficialFilesConfig,
    run=run,
    summary="Write a model's answers in the files that a benchmark's own scripts read.",
    inputs=lambda config: [config.data, config.answers],
    example="benchmark=speech_instruct_bench data=sets/speech_instruct answers=runs/sib/answers out=runs/sib/official",
)

if __name__ == "__main__":
    STAGE.exit()
