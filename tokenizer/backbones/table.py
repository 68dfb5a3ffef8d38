"""Backbones of the tokenizer's encoder: the one table that options, model and warm start read; free of torch.

A new backbone is one module with a `PreVQEncoder` and a `PostVQEncoder` (`tokenizer.backbones.base`), and one row here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One encoder architecture; its classes and functions are named as ``module:name`` and imported when needed.

    Attributes:
        title: for the model card.
        pre_vq: its `PreVQEncoder`, which also has the mel front end.
        post_vq: its `PostVQEncoder`.
        warm_start: the mapping of published weights, a `tokenizer.backbones.base.WarmStart`.
        options: those of the optional options of `TokenizerModelConfig` that it reads.
    """

    title: str
    pre_vq: str
    post_vq: str
    warm_start: str
    options: tuple[str, ...]


BACKBONES = {
    "fastconformer": Backbone(
        title="FastConformer",
        pre_vq="tokenizer.backbones.fastconformer:FastConformerFront",
        post_vq="tokenizer.backbones.fastconformer:FastConformerBack",
        warm_start="tokenizer.backbones.fastconformer_weights:load_nemo",
        options=("conv_kernel", "subsampling_channels", "left_context"),
    ),
    "whisper": Backbone(
        title="Whisper, causal by blocks",
        pre_vq="tokenizer.backbones.whisper:WhisperFront",
        post_vq="tokenizer.backbones.whisper:WhisperBack",
        warm_start="tokenizer.backbones.whisper_weights:load_whisper",
        options=("positions", "released_rules"),
    ),
}
