"""Stage imitation.ask: a text model's answers to prompts about transcripts, which a connector then learns to imitate.

    python -m imitation.ask manifest=data/train.jsonl model=http://localhost:8000/v1 out=runs/mtbi/pairs

Only transcripts are needed, no answers by hand (arXiv 2505.18644, stage 1). Each answer is kept in <out>/asked.jsonl as
it comes: after a kill only what is missing is asked again.
"""

from __future__ import annotations

from runtime.stage import Stage

from .ask_config import AskConfig

STAGE = Stage(
    name="imitation.ask",
    config=AskConfig,
    implementation="imitation.asking:ask_all",
    summary="Ask a text model many tasks about transcripts: the answers that a connector learns to imitate (MTBI).",
    inputs=lambda config: [
        config.manifest,
        None if config.model == "rules" or config.model.startswith("http") else config.model,
    ],
    example="manifest=data/train.jsonl tasks=content model=http://localhost:8000/v1 out=runs/mtbi/pairs",
    speed_options=("requests", "batch_size", "threads"),
)

if __name__ == "__main__":
    STAGE.exit()
