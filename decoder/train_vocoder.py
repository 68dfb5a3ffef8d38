"""Stage ``decoder.train_vocoder``: train the vocoder with spectral losses and, optionally, HiFi-GAN discriminators.

python -m decoder.train_vocoder corpus=runs/quickstart/corpus out=runs/quickstart/vocoder fit.steps=1000
torchrun --nproc-per-node 8 -m decoder.train_vocoder ... batch=64       (data parallel; the batch is that of all ranks)
"""

from __future__ import annotations

from typing import Any

from runtime.fit_config import ADJUSTABLE, NEUTRAL
from runtime.stage import Resumable, Run, Stage

from .training.config import TrainVocoderConfig


def run(config: TrainVocoderConfig, run: Run) -> dict[str, Any]:
    """Train and save the vocoder; returns its distances on held-out speech."""
    from .training.vocoder_training import train_vocoder

    return train_vocoder(config, run)


STAGE = Stage(
    name="decoder.train_vocoder",
    config=TrainVocoderConfig,
    run=run,
    summary="Train the iSTFT vocoder (log-mel to waveform) on the speech of a corpus.",
    inputs=lambda config: [config.corpus],
    resumable=Resumable(neutral=NEUTRAL, adjustable=("evaluate", *ADJUSTABLE)),
    example="corpus=runs/quickstart/corpus out=runs/quickstart/vocoder fit.steps=1000",
)

if __name__ == "__main__":
    STAGE.exit()
