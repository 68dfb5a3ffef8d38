"""Stage lm.train: train a language model on LM corpora with megatron-core, on one process or many.

    python -m lm.train vocabulary=V corpora.text=C/text corpora.tts=C/tts out=runs/lm
    python -m torch.distributed.run --nproc-per-node 2 -m lm.train parallel.tensor=2 ...

SIGTERM (SLURM's preemption) ends the run with a checkpoint and status 0; the same command goes on from there, under
the same or another layout.

Set ``OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0`` for several processes on a CPU: waiting threads otherwise spin on the
cores that others need.

The options stand in `lm.training.config`, the loop in `lm.training.trainer`.
"""

from __future__ import annotations

from runtime.stage import Resumable, Stage

from .training.config import LmTrainConfig
from .training.loop_config import ADJUSTABLE, NEUTRAL

STAGE = Stage(
    name="lm.train",
    config=LmTrainConfig,
    implementation="lm.training.trainer:train",
    summary="Train a language model on LM corpora (one process, or many under torchrun).",
    inputs=lambda config: [config.vocabulary, *config.corpora.values(), config.init, config.speech.encoder],
    resumable=Resumable(neutral=NEUTRAL, adjustable=ADJUSTABLE),
    example="vocabulary=runs/vocabulary/vocabulary corpora.tts=runs/corpora/tts train.steps=500 out=runs/lm",
)

if __name__ == "__main__":
    STAGE.exit()
