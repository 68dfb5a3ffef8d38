"""A block-causal transformer with a short causal convolution in each layer: the token encoder's and the flow's body.

A position attends to the whole of its own block and to `past` blocks before it, never to a later block; convolutions
look back only. So the output of a block never changes when later input arrives, and streaming block by block gives
what one pass over everything gives::

    blocks      | 0 0 0 | 1 1 1 | 2 2 2 |      queries of block 1 see the keys of block 1 - past ... 1

Positions are rotary (Su et al., arXiv 2104.09864), thus relative. A condition (flow time, speaker) shifts, scales and
gates each half of a layer: adaLN-Zero of Peebles & Xie, arXiv 2212.09748.

Shapes: B batch, T positions, D width, C condition width, H heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import BackboneConfig


class Backbone(nn.Module):
    """The stack of layers.

    Args:
        config: its shape.
        block: positions per block; 0 is one block over everything.
        past: earlier blocks that a position sees.
        condition_width: features of the condition; 0 for none.
    """

    def __init__(self, config: BackboneConfig, *, block: int, past: int, condition_width: int = 0) -> None:
        super().__init__()
        self.config, self.block, self.past = config, block, past
        self.layers = nn.ModuleList([Layer(config, condition_width) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x_BTD: Tensor, is_real_BT: Tensor, condition_BC: Tensor | None = None) -> Tensor:
        """Features (B, T, D) from features (B, T, D); padding is False in ``is_real_BT`` and never changes the rest."""
        sees_B1TT = self.visibility(is_real_BT)
        rotation = rotary_angles(x_BTD.shape[1], self.config.width // self.config.heads, x_BTD.device)
        for layer in self.layers:
            x_BTD = layer(x_BTD, sees_B1TT, rotation, condition_BC)
        return self.norm(x_BTD)

    def visibility(self, is_real_BT: Tensor) -> Tensor:
        """Which key each query sees (B, 1, T, T); a padded query sees itself, so that no softmax is empty."""
        position_T = torch.arange(is_real_BT.shape[1], device=is_real_BT.device)
        block_T = position_T // self.block if self.block else torch.zeros_like(position_T)
        age_TT = block_T[:, None] - block_T[None, :]
        sees_BTT = ((age_TT >= 0) & (age_TT <= self.past))[None] & is_real_BT[:, None, :]
        itself_TT = torch.eye(len(position_T), dtype=torch.bool, device=is_real_BT.device)
        return (sees_BTT | itself_TT)[:, None]


class Layer(nn.Module):
    """Attention, then a causal convolution and a feed-forward (one residual branch each)."""

    def __init__(self, config: BackboneConfig, condition_width: int) -> None:
        super().__init__()
        width = config.width
        self.heads, self.kernel = config.heads, config.kernel
        self.attention_norm = nn.LayerNorm(width, elementwise_affine=condition_width == 0)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.convolution = nn.Conv1d(width, width, config.kernel, groups=width)
        self.feed_norm = nn.LayerNorm(width, elementwise_affine=condition_width == 0)
        self.feed_in = nn.Linear(width, config.expansion * width)
        self.feed_out = nn.Linear(config.expansion * width, width)
        self.modulation = nn.Linear(condition_width, 6 * width) if condition_width else None
        if self.modulation is not None:  # adaLN-Zero: every branch starts as nothing
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(
        self, x_BTD: Tensor, sees_B1TT: Tensor, rotation: tuple[Tensor, Tensor], condition_BC: Tensor | None
    ) -> Tensor:
        """One layer; shapes as in `Backbone`."""
        if self.modulation is None or condition_BC is None:
            x_BTD = x_BTD + self.attend(self.attention_norm(x_BTD), sees_B1TT, rotation)
            return x_BTD + self.feed(self.feed_norm(x_BTD))
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = self.modulation(condition_BC)[:, None].chunk(6, dim=-1)
        attended_BTD = self.attend(self.attention_norm(x_BTD) * (1 + scale_a) + shift_a, sees_B1TT, rotation)
        x_BTD = x_BTD + gate_a * attended_BTD
        return x_BTD + gate_f * self.feed(self.feed_norm(x_BTD) * (1 + scale_f) + shift_f)

    def attend(self, x_BTD: Tensor, sees_B1TT: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Multi-head attention with rotary positions."""
        B, T, D = x_BTD.shape
        # (B, T, 3 D) -> three of (B, H, T, D / H)
        query, key, value = (
            self.query_key_value(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        )
        query, key = rotate(query, rotation), rotate(key, rotation)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=sees_B1TT)
        return self.attention_out(attended.transpose(1, 2).reshape(B, T, D))

    def feed(self, x_BTD: Tensor) -> Tensor:
        """The causal depth-wise convolution on top of its input, then the feed-forward."""
        x_BDT = F.pad(x_BTD.transpose(1, 2), (self.kernel - 1, 0))
        x_BTD = x_BTD + self.convolution(x_BDT).transpose(1, 2)
        return self.feed_out(F.gelu(self.feed_in(x_BTD)))


def rotary_angles(positions: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine (T, head width / 2) of the rotary angles."""
    frequency = 10_000.0 ** (-torch.arange(0, head_width, 2, device=device) / head_width)
    angle = torch.arange(positions, device=device)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x_BHTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (first half, second half) of a head's features by its position's angle."""
    cosine, sine = (part.to(x_BHTD.dtype) for part in rotation)
    one, two = x_BHTD.chunk(2, dim=-1)
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], dim=-1)
