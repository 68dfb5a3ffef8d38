"""Configs of small runs of the tokenizer's stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.data.config import AugmentConfig, DataConfig
from tokenizer.encoding.config import EncodeConfig
from tokenizer.quantisers.config import QuantiserConfig
from tokenizer.scoring.config import TokenizerEvaluateConfig
from tokenizer.training.config import TokenizerFitConfig, TokenizerTrainConfig

STEPS = 150


def train_config(corpus: Path, out: Path, **options: Any) -> TokenizerTrainConfig:
    steps, checkpoint_every = options.pop("steps", STEPS), options.pop("checkpoint_every", 1000)
    return TokenizerTrainConfig(
        corpus=str(corpus),
        out=str(out),
        device="cpu",
        model=options.pop("model", TokenizerModelConfig(width=64, subsampling_channels=16, num_labels=40, chunk=4)),
        vq=options.pop(
            "vq", QuantiserConfig(codebook_size=32, start_step=steps // 2, commitment=1.0, kmeans_batches=2)
        ),
        augment=AugmentConfig(warp=0.0, stretch=0.05, tilt=0.1, frequency_masks=0, time_masks=0),
        data=options.pop("data", DataConfig(batch_seconds=12)),
        fit=TokenizerFitConfig(
            steps=steps,
            learning_rate=3e-3,
            warmup_steps=min(10, steps),
            checkpoint_every=checkpoint_every,
        ),
        **options,
    )


def encode_config(trained: Path, corpus: Path, out: Path, **options: Any) -> EncodeConfig:
    return EncodeConfig(
        tokenizer=str(trained / "artefact"), corpus=str(corpus), out=str(out), unit_utterances=16, **options
    )


def evaluate_config(tokenizer: Path, corpus: Path, out: Path) -> TokenizerEvaluateConfig:
    return TokenizerEvaluateConfig(tokenizer=str(tokenizer), corpus=str(corpus), out=str(out), num_examples=2)
