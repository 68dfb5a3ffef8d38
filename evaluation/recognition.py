"""Stage ``evaluation.recognition``: word errors of a recogniser, or of a language model that hears, on a manifest.

    python -m evaluation.recognition recogniser=models/whisper-base data=test_clean.jsonl out=runs/whisper_base

Any recogniser that judges elsewhere can be measured here, and what a language model that reads speech as vectors hears.
Transcripts are kept as they come; after a kill only what is missing is heard.

Writes <out>/scores.json (the rate with its 95 % interval and stamp) and transcripts.jsonl.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .speech.recognition_config import RecognitionConfig

STAGE = Stage(
    name="evaluation.recognition",
    config=RecognitionConfig,
    implementation="evaluation.speech.recognition:measure_recognition",
    summary="Measure the word errors of a recogniser, or of a language model that hears, on any manifest.",
    inputs=lambda config: [config.data, None if config.recogniser.startswith("http") else config.recogniser],
    example="recogniser=runs/inserter_export data=runs/quickstart/corpus/heldout_sentence.jsonl out=runs/heard",
    speed_options=("threads",),
    headlines=(Headline("wer", "word errors of the recogniser"),),
)

if __name__ == "__main__":
    STAGE.exit()
