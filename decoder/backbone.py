"""A block-causal transformer with a short causal convolution in each layer: the token encoder's and the flow's body.

A position attends to the whole of its own block and to `past` blocks before it, never to a later block; convolutions
look back only. So the output of a block never changes when later input arrives, and streaming block by block gives
what one pass over everything gives::

    blocks      | 0 0 0 | 1 1 1 | 2 2 2 |      queries of block 1 see the keys of block 1 - past ... 1

With a `window` a position attends to itself and `window` positions before it, none after: what it sees does not depend
on where its block begins, so that there is no seam where blocks meet.

A stream keeps a `BackboneCache`: keys and values of the last `past` blocks and what the convolutions look back on, so
that a block costs the same however much came before it. `decoder.block_schedule` says which positions form a block.

Positions are rotary (Su et al., arXiv 2104.09864), thus relative. A condition (flow time, speaker) shifts, scales and
gates each half of a layer: adaLN-Zero of Peebles & Xie, arXiv 2212.09748.

Shapes: B batch, T positions, K keys (T and those cached before them), D width, C condition width, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from runtime.data_parallel import BatchDropout
from runtime.streaming import per_stream, split_rows, stack_rows

from .config import BackboneConfig


@dataclass
class LayerCache:
    """State of a layer: keys and values of earlier blocks (B, H, K - T, D / H), inputs of its convolution."""

    key: Tensor
    value: Tensor
    tail: Tensor


@dataclass
class BackboneCache:
    """State of one stream, or of several of equal shape as one batch (`stack_caches`).

    Attributes:
        positions: number of positions made, of each stream.
        blocks: (K - T,) of the cached positions, of the first stream; the others' differ from them by a constant.
        layers: the state of each layer.
    """

    positions: list[int]
    blocks: Tensor
    layers: list[LayerCache]

    def fork(self) -> BackboneCache:
        """The same state, to go on from twice."""
        return replace(self, layers=[replace(layer) for layer in self.layers])

    def shape(self, blocks_T: Tensor) -> tuple[int, ...]:
        """Blocks of the cached positions and of the ones that follow, relative to the first of these."""
        return tuple((torch.cat([blocks_T, self.blocks]) - blocks_T[0]).tolist())


def stack_caches(caches: Sequence[BackboneCache]) -> BackboneCache:
    """The caches of streams of equal shape as that of one batch (`runtime.streaming.stack_rows`)."""
    layers = [
        LayerCache(*(stack_rows([getattr(layer, part) for layer in same]) for part in ("key", "value", "tail")))
        for same in zip(*(cache.layers for cache in caches), strict=True)
    ]
    return BackboneCache([position for cache in caches for position in cache.positions], caches[0].blocks, layers)


def take_back(stacked: BackboneCache, caches: Sequence[BackboneCache], first_blocks: Sequence[int]) -> None:
    """Give each stream its part of a stacked cache, after a piece whose first position lay in its ``first_blocks``."""
    for row, cache in enumerate(caches):
        cache.positions = [stacked.positions[row]]
        cache.blocks = stacked.blocks + (first_blocks[row] - first_blocks[0])
    for layers, stacked_layer in zip(
        zip(*(cache.layers for cache in caches), strict=True), stacked.layers, strict=True
    ):
        for part in ("key", "value", "tail"):
            for layer, own in zip(layers, split_rows(getattr(stacked_layer, part), len(caches)), strict=True):
                setattr(layer, part, own)


class BlockCausalTransformer(nn.Module):
    """The stack of layers.

    Args:
        config: its shape.
        past: earlier blocks that a position sees, and that a stream keeps.
        window: earlier positions that a position sees instead; they must lie within ``past`` blocks.
        condition_width: features of the condition; 0 for none.
    """

    def __init__(
        self, config: BackboneConfig, *, past: int, window: int | None = None, condition_width: int = 0
    ) -> None:
        super().__init__()
        self.config, self.past, self.window = config, past, window
        self.layers = nn.ModuleList([BackboneLayer(config, condition_width) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        x_BTD: Tensor,
        is_real_BT: Tensor,
        blocks_T: Tensor,
        condition_BC: Tensor | None = None,
        cache: BackboneCache | None = None,
    ) -> Tensor:
        """Features (B, T, D) from features (B, T, D).

        Args:
            x_BTD: the input; with a cache, whole blocks that follow those in it.
            is_real_BT: False is padding, which never changes the rest; a stream has none.
            blocks_T: the block of each position, never falling; on the CPU.
            condition_BC: what modulates the layers.
            cache: of the stream, taken on; None makes everything at once.
        """
        known_T, positions = (blocks_T[:0], [0]) if cache is None else (cache.blocks, cache.positions)
        blocks_K = torch.cat([known_T, blocks_T])
        sees_BTK = self.visibility(blocks_T, blocks_K, is_real_BT, is_whole=cache is None)
        rotation = self.rotation(positions, x_BTD)
        for index, layer in enumerate(self.layers):
            layer_cache = None if cache is None else cache.layers[index]
            x_BTD = layer(x_BTD, sees_BTK, rotation, condition_BC, layer_cache, len(positions))
        if cache is not None:
            self.forget(cache, blocks_K, x_BTD.shape[1])
        return self.norm(x_BTD)

    def visibility(self, blocks_T: Tensor, blocks_K: Tensor, is_real_BT: Tensor, *, is_whole: bool) -> Tensor | None:
        """The mask of keys that a query sees (B, 1, T, K), None for all; padding sees itself: no empty softmax."""
        if self.window is None:
            age_TK, oldest = blocks_T[:, None] - blocks_K[None, :], self.past
        else:  # the keys are those of the positions before and of the queries themselves
            places_K = torch.arange(len(blocks_K))
            age_TK, oldest = places_K[-len(blocks_T) :, None] - places_K, self.window
        sees_TK = (age_TK >= 0) & (age_TK <= oldest)
        if not is_whole:
            return None if bool(sees_TK.all()) else sees_TK[None, None].to(is_real_BT.device)
        itself_TT = torch.eye(len(blocks_T), dtype=torch.bool, device=is_real_BT.device)
        return ((sees_TK.to(is_real_BT.device)[None] & is_real_BT[:, None, :]) | itself_TT)[:, None]

    def rotation(self, positions: list[int], x_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine of the rotary angles: (T, D / H / 2), or (B, 1, T, D / H / 2) of streams at other places."""
        rows, length, width = len(x_BTD), x_BTD.shape[1], self.config.width // self.config.heads
        angles = [rotary_angles(first, length, width, x_BTD.device) for first in positions]
        if len(positions) == 1:
            return angles[0]
        cosine, sine = (
            torch.stack(parts).repeat(rows // len(positions), 1, 1)[:, None] for parts in zip(*angles, strict=True)
        )
        return cosine, sine

    def empty_cache(self, batch: int) -> BackboneCache:
        """The cache of a stream of ``batch`` rows that begins."""
        weight, width, heads = self.norm.weight, self.config.width, self.config.heads
        layers = []
        for _ in self.layers:
            empty = weight.new_zeros(batch, heads, 0, width // heads)
            layers.append(LayerCache(empty, empty, weight.new_zeros(batch, width, self.config.kernel - 1)))
        return BackboneCache([0], torch.zeros(0, dtype=torch.long), layers)

    def forget(self, cache: BackboneCache, blocks_K: Tensor, made: int) -> None:
        """Go on by ``made`` positions and drop what no later block sees."""
        cache.positions = [position + made for position in cache.positions]
        kept = int((blocks_K > blocks_K[-1] - self.past).sum())
        first = len(blocks_K) - kept
        cache.blocks = blocks_K[first:]
        for layer in cache.layers:
            layer.key, layer.value = layer.key[:, :, first:], layer.value[:, :, first:]


class BackboneLayer(nn.Module):
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
        self.dropout = BatchDropout(config.dropout)
        self.modulation = nn.Linear(condition_width, 6 * width) if condition_width else None
        if self.modulation is not None:  # adaLN-Zero: every branch starts as nothing
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x_BTD: Tensor,
        sees_BTK: Tensor | None,
        rotation: tuple[Tensor, Tensor],
        condition_BC: Tensor | None,
        cache: LayerCache | None,
        streams: int,
    ) -> Tensor:
        """One layer; shapes as in `BlockCausalTransformer`."""
        if self.modulation is None or condition_BC is None:
            x_BTD = x_BTD + self.dropout(self.attend(self.attention_norm(x_BTD), sees_BTK, rotation, cache))
            return x_BTD + self.dropout(self.feed(self.feed_norm(x_BTD), cache))
        modulation_B1C = per_stream(self.modulation, condition_BC, streams)[:, None]
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = modulation_B1C.chunk(6, dim=-1)
        attended_BTD = self.attend(self.attention_norm(x_BTD) * (1 + scale_a) + shift_a, sees_BTK, rotation, cache)
        x_BTD = x_BTD + gate_a * self.dropout(attended_BTD)
        return x_BTD + gate_f * self.dropout(self.feed(self.feed_norm(x_BTD) * (1 + scale_f) + shift_f, cache))

    def attend(
        self, x_BTD: Tensor, sees_BTK: Tensor | None, rotation: tuple[Tensor, Tensor], cache: LayerCache | None
    ) -> Tensor:
        """Multi-head attention with rotary positions."""
        B, T, D = x_BTD.shape
        # (B, T, 3 D) -> three of (B, H, T, D / H)
        query, key, value = (
            self.query_key_value(x_BTD).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)
        )
        query, key = rotate(query, rotation), rotate(key, rotation)
        if cache is not None:
            key, value = torch.cat([cache.key, key], dim=2), torch.cat([cache.value, value], dim=2)
            cache.key, cache.value = key, value
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=sees_BTK)
        return self.attention_out(attended.transpose(1, 2).reshape(B, T, D))

    def feed(self, x_BTD: Tensor, cache: LayerCache | None) -> Tensor:
        """The causal depth-wise convolution on top of its input, then the feed-forward."""
        x_BDT = x_BTD.transpose(1, 2)
        if cache is None:
            x_BDT = F.pad(x_BDT, (self.kernel - 1, 0))
        else:
            x_BDT = torch.cat([cache.tail, x_BDT], dim=2)
            cache.tail = x_BDT[:, :, x_BDT.shape[2] - (self.kernel - 1) :]
        x_BTD = x_BTD + self.convolution(x_BDT).transpose(1, 2)
        return self.feed_out(F.gelu(self.feed_in(x_BTD)))


def rotary_angles(first: int, positions: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine (T, head width / 2) of the rotary angles from position ``first`` on.

    The angle is taken in float64: after ten minutes of speech float32 would round it to a thousandth of a radian.
    """
    frequency = 10_000.0 ** (-torch.arange(0, head_width, 2, dtype=torch.float64) / head_width)
    angle = torch.arange(first, first + positions, dtype=torch.float64)[:, None] * frequency
    return angle.cos().float().to(device), angle.sin().float().to(device)


def rotate(x_BHTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair (first half, second half) of a head's features by its position's angle."""
    cosine, sine = (part.to(x_BHTD.dtype) for part in rotation)
    one, two = x_BHTD.chunk(2, dim=-1)
    return torch.cat([one * cosine - two * sine, one * sine + two * cosine], dim=-1)
