"""Initial weights, in one place.

| weights | start |
|---|---|
| subsampling convolutions | He normal (for ReLU), biases zero |
| subsampling's output matrix | normal, 1 / sqrt(fan in), bias zero |
| Conformer layers, CTC head | as NeMo and torch have them |
| Whisper's convolutions and matrices | normal, 0.02, biases zero (as Hugging Face has them) |
| attention decoder | as torch has it; embeddings normal, 1 / sqrt(width), positions 0.02 |
| codebook | k-means over frames at ``vq.start_step`` |

torch's own start of the five subsampling convolutions shrinks the signal a hundredfold, below their biases: the fit
then idles for hundreds of steps (CTC loss after 200 steps on two hours of speech: 4.4 with it, 0.8 with He normal).
"""

from __future__ import annotations

from typing import Any

from torch import nn

from tokenizer.backbones.base import PostVQEncoder, PreVQEncoder


def initialise(half: PreVQEncoder | PostVQEncoder) -> None:
    """Set the initial weights of a half that differ from the libraries' own."""
    from tokenizer.backbones.fastconformer import FastConformerFront
    from tokenizer.backbones.whisper import WhisperBack, WhisperFront

    if isinstance(half, FastConformerFront):
        initialise_subsampling(half.encoder.pre_encode)
    elif isinstance(half, WhisperFront | WhisperBack):
        for module in half.modules():
            if isinstance(module, nn.Linear | nn.Conv1d):
                nn.init.normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


def initialise_subsampling(subsampling: Any) -> None:
    """He normal convolutions and a unit output matrix."""
    for module in subsampling.conv.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    nn.init.normal_(subsampling.out.weight, std=subsampling.out.in_features**-0.5)
    nn.init.zeros_(subsampling.out.bias)
