"""Stage ``evaluation.serving``: latency of a served model's spoken replies at 1, 2, 4, 8 and 16 talkers.

    python -m evaluation.serving model=runs/quickstart/bundle data=runs/quickstart/corpus out=runs/serving
    python -m evaluation.serving model=http://127.0.0.1:8000 data=questions.jsonl interface=chat_completions out=...

Talkers speak in real time, listen to the whole reply, pause for a second on average and ask again. The metrics and the
instants between which they are taken: evaluation/load_test/metrics.py and docs/evaluation.md.

Writes <out>/serving.json, serving.md, serving.html (tables and plot), serving.png and requests.jsonl (one line a
request). Finished measurements are kept after a kill.
"""

from __future__ import annotations

from runtime.stage import Stage

from .load_test.config import ServingConfig

STAGE = Stage(
    name="evaluation.serving",
    config=ServingConfig,
    implementation="evaluation.load_test.measurement:measure_serving",
    summary="Latency of a served model under load: ttft, audio_ttfp, audio_rtf, e2el and gaps, p50 to p99.",
    inputs=lambda config: [config.data, None if config.url else config.model],
    example="model=runs/quickstart/bundle data=runs/quickstart/corpus out=runs/serving",
)

if __name__ == "__main__":
    STAGE.exit()
