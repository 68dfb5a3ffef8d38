"""Stage ``decoder.train_vocoder``: train the vocoder with spectral losses and, optionally, HiFi-GAN discriminators.

python -m decoder.train_vocoder corpus=runs/quickstart/corpus out=runs/quickstart/vocoder fit.steps=1000
torchrun --nproc-per-node 8 -m decoder.train_vocoder ... batch=64       (data parallel; the batch is that of all ranks)
"""

from __future__ import annotations

from runtime.fit_config import ADJUSTABLE, NEUTRAL
from runtime.stage import Resumable, Stage

from .training.config import TrainVocoderConfig

STAGE = Stage(
    name="decoder.train_vocoder",
    config=TrainVocoderConfig,
    implementation="decoder.training.vocoder_training:train_vocoder",
    summary="Train the iSTFT vocoder (log-mel to waveform) on the speech of a corpus.",
    inputs=lambda config: [config.corpus],
    resumable=Resumable(neutral=NEUTRAL, adjustable=("evaluate", *ADJUSTABLE)),
    example="corpus=runs/quickstart/corpus out=runs/quickstart/vocoder fit.steps=1000",
)

if __name__ == "__main__":
    STAGE.exit()
