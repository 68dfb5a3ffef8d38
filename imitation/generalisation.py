"""Stage imitation.generalisation: a model that hears on prompts and tasks that its connector was not trained on.

    python -m imitation.generalisation model=runs/mtbi_export pairs=runs/heldout_pairs manifest=data/heldout.jsonl \\
        'conditions=[transcript,speech,cascade]' recogniser=models/whisper-base out=runs/mtbi/generalisation

Seen prompts, unseen prompts, unseen tasks, each under the forms of the input: mean over tasks and worst prompt, and the
gap to what the text model does with the transcript. Answers are kept as they come; after a kill only what is missing is
asked.

Writes <out>/scores.json, generalisation.md and generalisation.png.
"""

from __future__ import annotations

from runtime.stage import Headline, Stage

from .benchmark.config import BenchmarkConfig

STAGE = Stage(
    name="imitation.generalisation",
    config=BenchmarkConfig,
    implementation="imitation.benchmark.measuring:measure",
    summary="Measure a model that hears on unseen prompts and unseen tasks: speech against transcript and cascade.",
    inputs=lambda config: [
        config.model,
        config.pairs,
        config.manifest,
        None if config.recogniser.startswith("http") else config.recogniser,
    ],
    example="model=runs/mtbi_export pairs=runs/mtbi/heldout_pairs manifest=data/heldout.jsonl "
    "out=runs/mtbi/generalisation",
    speed_options=("batch_size", "threads", "requests"),
    headlines=(
        Headline("speech.seen", "spoken content, seen prompts: mean over tasks"),
        Headline("speech.unseen_prompts", "spoken content, unseen prompts"),
        Headline("speech.unseen_tasks", "spoken content, unseen tasks"),
    ),
)

if __name__ == "__main__":
    STAGE.exit()
