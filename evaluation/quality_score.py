"""Stage ``evaluation.quality_score``: scores out of measured speech; no model and no sound is needed.

    python -m evaluation.quality_score measured=runs/quickstart/quality out=runs/quickstart/quality_scores

Every number has a stamp and a 95 % interval. The same measurement gives the same bytes, those of the stage that
measured it included (with its ``normaliser``).

Writes <out>/scores.json and quality.md (the table).
"""

from __future__ import annotations

from runtime.stage import Stage

from .speech.config import QualityScoreConfig

STAGE = Stage(
    name="evaluation.quality_score",
    config=QualityScoreConfig,
    implementation="evaluation.speech.quality_measurement:score_again",
    summary="Score measured speech again, with stamps; no model is needed.",
    inputs=lambda config: [config.measured],
    example="measured=runs/quickstart/quality out=runs/quickstart/quality_scores normaliser=whisper",
)

if __name__ == "__main__":
    STAGE.exit()
