"""Transformer layer of Whisper (arXiv 2212.04356): pre-norm, GELU, keys without bias. Names are Hugging Face's.

B batch, Q queries, K keys, D width, H heads, d width of a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class KeyValue(NamedTuple):
    """Keys and values, each (B, H, K, d)."""

    keys: Tensor
    values: Tensor


class Attention(nn.Module):
    """Multi-head scaled dot-product attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def split(self, x_BKD: Tensor) -> Tensor:
        """(B, K, D) to (B, H, K, d)."""
        return x_BKD.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys(self, x_BKD: Tensor) -> KeyValue:
        """Keys and values of a sequence."""
        return KeyValue(self.split(self.k_proj(x_BKD)), self.split(self.v_proj(x_BKD)))

    def forward(self, x_BQD: Tensor, keys: KeyValue, mask: Tensor | None, *, is_causal: bool = False) -> Tensor:
        """Queries (B, Q, D) over keys; ``mask`` (broadcast to (B, H, Q, K)) is true where a query may look."""
        mixed_BHQd = nn.functional.scaled_dot_product_attention(
            self.split(self.q_proj(x_BQD)), keys.keys, keys.values, attn_mask=mask, is_causal=is_causal
        )
        return self.out_proj(mixed_BHQd.transpose(1, 2).flatten(2))


class EncoderLayer(nn.Module):
    """Self-attention and a feed-forward net."""

    def __init__(self, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, feed_forward * width)
        self.fc2 = nn.Linear(feed_forward * width, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BQD: Tensor, mask: Tensor | None, past: KeyValue | None = None, *, is_causal: bool = False
    ) -> tuple[Tensor, KeyValue]:
        """(B, Q, D) to the same shape; ``past`` are the keys of what came before. Returns the keys of both too."""
        normed_BQD = self.self_attn_layer_norm(x_BQD)
        keys = self.self_attn.keys(normed_BQD)
        if past is not None:
            keys = KeyValue(torch.cat([past.keys, keys.keys], dim=2), torch.cat([past.values, keys.values], dim=2))
        x_BQD = x_BQD + self.dropout(self.self_attn(normed_BQD, keys, mask, is_causal=is_causal))
        return self.feed(x_BQD), keys

    def feed(self, x_BQD: Tensor) -> Tensor:
        """The feed-forward net with its residual."""
        inner = self.dropout(nn.functional.gelu(self.fc1(self.final_layer_norm(x_BQD))))
        return x_BQD + self.dropout(self.fc2(inner))


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's positions (length, D): sines, then cosines, of wavelengths 2 pi to 20000 pi."""
    rates = torch.exp(-torch.arange(width // 2) * (torch.log(torch.tensor(10000.0)) / max(1, width // 2 - 1)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
