"""Transformer layer of Whisper (arXiv 2212.04356): pre-norm, GELU, keys without bias. Names are Hugging Face's.

B batch, Q queries, K keys, D width, H heads, d width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def attend_by_row(self, x_BQD: Tensor, keys: Sequence[KeyValue], masks: Sequence[Tensor | None]) -> Tensor:
        """Queries (B, Q, D), each row over keys of its own number: a list of (1, H, K, d) and masks (1, 1, 1, K)."""
        rows = zip(self.split(self.q_proj(x_BQD)).split(1), keys, masks, strict=True)
        mixed_BHQd = torch.cat(
            [
                nn.functional.scaled_dot_product_attention(query, own.keys, own.values, attn_mask=mask)
                for query, own, mask in rows
            ]
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

    def forward(self, x_BQD: Tensor, mask: Tensor | None) -> Tensor:
        """(B, Q, D) to the same shape."""
        normed_BQD = self.self_attn_layer_norm(x_BQD)
        return self.feed(x_BQD + self.dropout(self.self_attn(normed_BQD, self.self_attn.keys(normed_BQD), mask)))

    def step(
        self, x_BQD: Tensor, past: Sequence[KeyValue], masks: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[KeyValue]]:
        """(B, Q, D), each row after its own past (1, H, K, d), to the same shape; the keys of both, too."""
        normed_BQD = self.self_attn_layer_norm(x_BQD)
        new = self.self_attn.keys(normed_BQD)
        keys = [
            KeyValue(torch.cat([own.keys, key], dim=2), torch.cat([own.values, value], dim=2))
            for own, key, value in zip(past, new.keys.split(1), new.values.split(1), strict=True)
        ]
        return self.feed(x_BQD + self.self_attn.attend_by_row(normed_BQD, keys, masks)), keys

    def feed(self, x_BQD: Tensor) -> Tensor:
        """The feed-forward net with its residual."""
        inner = self.dropout(nn.functional.gelu(self.fc1(self.final_layer_norm(x_BQD))))
        return x_BQD + self.dropout(self.fc2(inner))


def sinusoids(length: int, width: int) -> Tensor:
    """Whisper's positions (length, D): sines, then cosines, of wavelengths 2 pi to 20000 pi."""
    rates = torch.exp(-torch.arange(width // 2) * (torch.log(torch.tensor(10000.0)) / max(1, width // 2 - 1)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)
