"""Stage ``tokenizer.train``: train the speech tokenizer on a corpus of speech with transcripts.

python -m tokenizer.train corpus=runs/corpus out=runs/tokenizer
python -m tokenizer.train ... 'manifests=[supervised.jsonl,pseudo.jsonl]' 'weights=[1,3]'
torchrun --nproc-per-node 8 -m tokenizer.train corpus=... out=...     (data parallel)
"""

from __future__ import annotations

from pathlib import Path

from runtime.fit_config import ADJUSTABLE, NEUTRAL
from runtime.stage import Resumable, Stage

from .training.config import TokenizerTrainConfig

STAGE = Stage(
    name="tokenizer.train",
    config=TokenizerTrainConfig,
    implementation="tokenizer.training.trainer:train",
    summary="Train the speech tokenizer (ASR encoder with a VQ bottleneck) on speech with transcripts.",
    inputs=lambda config: [config.corpus, *config.manifests, config.init if Path(config.init).exists() else None],
    resumable=Resumable(neutral=("device", *NEUTRAL), adjustable=("max_scored", *ADJUSTABLE)),
    example="corpus=runs/corpus out=runs/tokenizer fit.steps=1000 fit.threads=2",
)

if __name__ == "__main__":
    STAGE.exit()
