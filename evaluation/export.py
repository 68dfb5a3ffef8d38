"""Stage ``evaluation.export``: answers of a model in the files that a benchmark's own scripts read.

    python -m evaluation.export benchmark=speech_instruct_bench data=sets/speech_instruct answers=runs/sib/answers \\
        out=runs/sib/official

Writes <out>/files/: one JSON-lines file for each subset, in the benchmark's naming, so that its published scripts run
unchanged. An item without an answer has an empty one.
"""

from __future__ import annotations

from runtime.stage import Stage

from .answers.config import OfficialFilesConfig

STAGE = Stage(
    name="evaluation.export",
    config=OfficialFilesConfig,
    implementation="evaluation.answers.official_files:write_official_files",
    summary="Write a model's answers in the files that a benchmark's own scripts read.",
    inputs=lambda config: [config.data, config.answers],
    example="benchmark=speech_instruct_bench data=sets/speech_instruct answers=runs/sib/answers out=runs/sib/official",
)

if __name__ == "__main__":
    STAGE.exit()
