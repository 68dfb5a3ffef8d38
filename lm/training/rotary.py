"""Rotary positions (arXiv 2104.09864): one table of cosines and sines a micro batch, from each token's position.

::

    [x1, x2] -> [x1 cos - x2 sin, x2 cos + x1 sin],  angle = position x frequency

x1 and x2 are the two halves of what is turned of a head (Llama), or its even and odd columns (GLM).

megatron-core 0.16.1 makes the table anew for queries and keys of each layer, and for packed documents reads their
lengths from the device each time. Here layers only multiply, and nothing waits for the device.

Shapes: S tokens of a sequence (the whole one, also where tensor parallel processes divide it), B batch, or 1 where all
sequences have the same positions, H heads, D width of a head, R columns of it that are turned.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.transformer.attention import SelfAttention
from torch import Tensor

from .model_config import LmModelConfig


class RotaryTable:
    """The frequencies of a model; the table of tokens at given positions.

    Args:
        model: base, share of a head, scaling.
    """

    def __init__(self, model: LmModelConfig) -> None:
        made = RotaryEmbedding(
            model.head_width,
            model.rope_share,
            rotary_base=cast(int, model.rope_base),
            rope_scaling=model.rope_scaling != 1.0,
            rope_scaling_factor=model.rope_scaling,
            use_cpu_initialization=True,
        )
        self.frequencies: Tensor = made.inv_freq  # (R / 2,), fp32 whatever the weights' type is

    def __call__(self, positions_BS: Tensor, dtype: torch.dtype) -> Tensor:
        """Cosines and sines (2, S, B, 1, R / 2) for integer positions."""
        if self.frequencies.device != positions_BS.device:
            self.frequencies = self.frequencies.to(positions_BS.device)
        angles = positions_BS.t()[..., None, None].float() * self.frequencies
        return torch.stack([angles.cos().to(dtype), angles.sin().to(dtype)])


class RotarySelfAttention(SelfAttention):
    """megatron-core's attention, of a model that gives it a `RotaryTable`'s output for ``rotary_pos_emb``."""

    def _adjust_key_value_for_inference(
        self, inference_context: Any, query: Tensor, key: Tensor, value: Tensor, rotary_pos_emb: Any, *_: Any, **__: Any
    ) -> Any:
        """In training megatron-core passes queries (S, B, H, D) and keys through here before it would turn them."""
        assert inference_context is None, "no key/value cache here: see lm.inference"
        table, _ = rotary_pos_emb
        query, key = (turn(heads, table, is_interleaved=self.config.rotary_interleaved) for heads in (query, key))
        return query, key, value, None, self.attn_mask_type, None


def turn(heads: Tensor, table: Tensor, *, is_interleaved: bool) -> Tensor:
    """Heads (S, B, H, D), the first R columns turned.

    Args:
        heads: queries or keys.
        table: of a `RotaryTable`, in the type of the heads.
        is_interleaved: turn neighbouring columns instead of halves.
    """
    return cast(Tensor, _Turn.apply(heads, table, is_interleaved))


class _Turn(torch.autograd.Function):
    """A turn's gradient is turned back."""

    @staticmethod
    def forward(context: Any, heads: Tensor, table: Tensor, is_interleaved: bool) -> Tensor:
        context.save_for_backward(table)
        context.is_interleaved = is_interleaved
        return _turned(heads, table[0], table[1], is_interleaved)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (table,) = context.saved_tensors
        return _turned(gradients[0], table[0], -table[1], context.is_interleaved), None, None


def _turned(heads: Tensor, cosine: Tensor, sine: Tensor, is_interleaved: bool) -> Tensor:
    result = torch.empty(heads.shape, dtype=heads.dtype, device=heads.device)
    width = 2 * cosine.size(-1)
    first, second = _pair(heads[..., :width], is_interleaved)
    new_first, new_second = _pair(result[..., :width], is_interleaved)
    torch.mul(first, cosine, out=new_first).sub_(second * sine)
    torch.mul(second, cosine, out=new_second).add_(first * sine)
    result[..., width:] = heads[..., width:]
    return result


def _pair(heads: Tensor, is_interleaved: bool) -> tuple[Tensor, ...]:
    return (heads[..., ::2], heads[..., 1::2]) if is_interleaved else heads.chunk(2, -1)
