"""Names of packages that judge speech and are given in the place of a path."""

from __future__ import annotations

RESEMBLYZER = "resemblyzer"  # a speaker encoder with its weights (`evaluation.judges.speaker_encoders`)
