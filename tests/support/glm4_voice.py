"""Reference of GLM-4-Voice's released speech tokenizer: waveform to codes, from its published description.

Written from the rules, on plain tensors, independent of ours: pieces of 30 s, WhisperFeatureExtractor padded to whole
tokens, causal convolutions, block-causal attention under the extractor's mask, average pooling, nearest code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from transformers import WhisperFeatureExtractor

from tokenizer.backbones.whisper_layers import sinusoids

Weights = Mapping[str, Tensor]


def released_codes(audios: Sequence[np.ndarray], weights: Weights, **options: int) -> list[list[int]]:
    """Codes of audios that are encoded as one batch; ``options`` as `released_vectors` has them."""
    vectors = released_vectors(audios, weights, **options)
    return [torch.cdist(vectors_TD, weights["codebook.weight"]).argmin(-1).tolist() for vectors_TD in vectors]


def released_vectors(
    audios: Sequence[np.ndarray], weights: Weights, *, num_layers: int, heads: int, pooling: int = 4, block: int = 200
) -> list[Tensor]:
    """(T, D) vectors before the quantiser, of audios that are encoded as one batch of all their pieces.

    Args:
        audios: (S,) each, at 16 kHz.
        weights: by the released names, without a prefix.
        num_layers: of the encoder.
        heads: of the attention.
        pooling: positions of a token.
        block: positions that see each other.
    """
    pieces = [
        (at, audio[start : start + 480_000])
        for at, audio in enumerate(audios)
        for start in range(0, len(audio), 480_000)
    ]
    extractor = WhisperFeatureExtractor(weights["conv1.weight"].shape[1])
    features = extractor(
        [piece for _, piece in pieces],
        sampling_rate=16_000,
        return_attention_mask=True,
        return_tensors="pt",
        padding="longest",
        pad_to_multiple_of=320 * pooling,
    )
    mask_BP = features.attention_mask[:, ::2].bool()
    with torch.inference_mode():
        hidden_BPD = encoder(features.input_features, mask_BP, weights, num_layers, heads, block)
        missing = -hidden_BPD.shape[1] % pooling
        pooled_BTD = functional.avg_pool1d(functional.pad(hidden_BPD.mT, (0, missing)), pooling).mT
    found: list[list[Tensor]] = [[] for _ in audios]
    for (at, _), vectors_TD, mask_T in zip(pieces, pooled_BTD, mask_BP[:, ::pooling], strict=True):
        found[at].append(vectors_TD[mask_T])
    return [torch.cat(own) for own in found]


def encoder(mel_BMF: Tensor, mask_BP: Tensor, weights: Weights, num_layers: int, heads: int, block: int) -> Tensor:
    """(B, M, F) frames to (B, P, D), keys limited to ``mask_BP`` and to blocks up to the query's."""

    def conv(x: Tensor, name: str, stride: int) -> Tensor:
        padded = functional.pad(x, (2, 0))
        return functional.gelu(functional.conv1d(padded, weights[f"{name}.weight"], weights[f"{name}.bias"], stride))

    x_BPD = conv(conv(mel_BMF, "conv1", 1), "conv2", 2).mT
    size, width = x_BPD.shape[1:]
    x_BPD = x_BPD + sinusoids(1500, width)[:size]
    places = torch.arange(size)
    may_look_B1PP = (places[:, None] // block >= places // block) & mask_BP[:, None, None, :]
    for number in range(num_layers):

        def own(name: str, prefix: str = f"layers.{number}") -> Tensor | None:
            return weights.get(f"{prefix}.{name}")

        def linear(x: Tensor, name: str) -> Tensor:
            return functional.linear(x, own(f"{name}.weight"), own(f"{name}.bias"))

        def norm(x: Tensor, name: str) -> Tensor:
            return functional.layer_norm(x, (width,), own(f"{name}.weight"), own(f"{name}.bias"))

        y_BPD = norm(x_BPD, "self_attn_layer_norm")
        q, k, v = (linear(y_BPD, f"self_attn.{name}_proj").unflatten(-1, (heads, -1)).transpose(1, 2) for name in "qkv")
        scores = (q @ k.mT / (width // heads) ** 0.5).masked_fill(~may_look_B1PP, -1e9)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        x_BPD = x_BPD + linear(mixed, "self_attn.out_proj")
        y_BPD = functional.gelu(linear(norm(x_BPD, "final_layer_norm"), "fc1"))
        x_BPD = x_BPD + linear(y_BPD, "fc2")
    return x_BPD
