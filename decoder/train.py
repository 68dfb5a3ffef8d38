"""Stage ``decoder.train``: train the decoder (token encoder and flow) on tokenised speech and pack it with a vocoder.

    python -m decoder.train corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens \\
        vocoder=runs/quickstart/vocoder out=runs/quickstart/decoder fit.steps=1500
    torchrun --nproc-per-node 8 -m decoder.train ... batch=128      (data parallel; the batch is that of all ranks)

The paper's two stages are two calls: voices=[all] first, then voices=[answer] init=<first out> prefix_share=0.5.
"""

from __future__ import annotations

from runtime.fit_config import ADJUSTABLE, NEUTRAL
from runtime.stage import Resumable, Stage

from .training.config import DecoderTrainConfig

STAGE = Stage(
    name="decoder.train",
    config=DecoderTrainConfig,
    implementation="decoder.training.decoder_training:train_decoder",
    summary="Train the decoder (speech tokens to waveform) on tokenised speech and pack it with a vocoder.",
    inputs=lambda config: [config.corpus, config.tokens, config.vocoder, config.init, config.distil_from],
    resumable=Resumable(neutral=NEUTRAL, adjustable=("evaluate", *ADJUSTABLE)),
    example="corpus=runs/quickstart/corpus tokens=runs/quickstart/tokens vocoder=runs/quickstart/vocoder "
    "out=runs/quickstart/decoder",
)

if __name__ == "__main__":
    STAGE.exit()
