"""The table between megatron-core's parameter names and Hugging Face's, read in both directions.

megatron-core keeps query, key and value in one matrix, group by group, and SwiGLU's gate and up in another::

    linear_qkv  rows:  [q q k v] [q q k v] ...      one bracket a key-value head, heads / kv_heads queries in it
    linear_fc1  rows:  [gate] [up]

Both sides are whole (not divided by tensor parallel). Shapes: G key-value heads, R = heads / G queries of a group,
W width of a head, D hidden (absent in biases).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from lm.training.model_config import LmModelConfig

from .families import Family, family_of

Parts = tuple[Tensor, ...]


BLOCK = 1024  # rows of an embedding that are looked at together


class Kind(NamedTuple):
    """How a core matrix is divided into parts, and put together from them."""

    split: Callable[[Tensor, LmModelConfig], Parts]
    join: Callable[[Parts, LmModelConfig], Tensor]


def _split_qkv(matrix: Tensor, model: LmModelConfig) -> Parts:
    per_group = model.heads // model.kv_heads
    heads = matrix.view(model.kv_heads, per_group + 2, model.head_width, *matrix.shape[1:])  # (G, R + 2, W, D)
    return tuple(part.reshape(-1, *matrix.shape[1:]) for part in heads.split([per_group, 1, 1], dim=1))


def _join_qkv(parts: Parts, model: LmModelConfig) -> Tensor:
    rest = parts[0].shape[1:]
    heads = [part.view(model.kv_heads, -1, model.head_width, *rest) for part in parts]
    return torch.cat(heads, dim=1).reshape(-1, *rest)


WHOLE = Kind(lambda matrix, _: (matrix,), lambda parts, _: parts[0])
HALVES = Kind(lambda matrix, _: tuple(matrix.chunk(2)), lambda parts, _: torch.cat(parts))
QKV = Kind(_split_qkv, _join_qkv)

IDS = {  # one row an id
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "output_layer.weight": "lm_head.weight",
}
# megatron-core's name in a layer, Hugging Face's, and how one becomes the other
Line = tuple[str, tuple[str, ...], Kind]
LAYER: list[Line] = [
    ("input_layernorm.weight", ("input_layernorm.weight",), WHOLE),
    ("self_attention.linear_qkv.weight", tuple(f"self_attn.{part}_proj.weight" for part in "qkv"), QKV),
    ("self_attention.linear_proj.weight", ("self_attn.o_proj.weight",), WHOLE),
    ("pre_mlp_layernorm.weight", ("post_attention_layernorm.weight",), WHOLE),
    ("mlp.linear_fc2.weight", ("mlp.down_proj.weight",), WHOLE),
]
QKV_BIAS: list[Line] = [
    ("self_attention.linear_qkv.bias", tuple(f"self_attn.{part}_proj.bias" for part in "qkv"), QKV),
]
QK_NORM: list[Line] = [
    ("self_attention.q_layernorm.weight", ("self_attn.q_norm.weight",), WHOLE),
    ("self_attention.k_layernorm.weight", ("self_attn.k_norm.weight",), WHOLE),
]
SANDWICH_NORM: list[Line] = [
    ("self_attention.linear_proj.output_norm.weight", ("post_self_attn_layernorm.weight",), WHOLE),
    ("mlp.linear_fc2.output_norm.weight", ("post_mlp_layernorm.weight",), WHOLE),
]
GATE_AND_UP: Line = ("mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), HALVES)
GATE_UP: Line = ("mlp.linear_fc1.weight", ("mlp.gate_up_proj.weight",), WHOLE)


class WeightMapping(NamedTuple):
    """One row of the table.

    Attributes:
        core: megatron-core's name (local layers).
        theirs: Hugging Face's names.
        kind: how the matrix is divided among them.
    """

    core: str
    theirs: tuple[str, ...]
    kind: Kind

    def to_core(self, read: Callable[[str], Tensor], model: LmModelConfig) -> Tensor:
        """megatron-core's matrix; ``read`` gives Hugging Face's by name."""
        return self.kind.join(tuple(read(name) for name in self.theirs), model)

    def to_huggingface(self, matrix: Tensor, model: LmModelConfig, num_ids: int) -> dict[str, Tensor]:
        """Hugging Face's names and matrices; the rows that pad the vocabulary are left out."""
        parts = self.kind.split(matrix[:num_ids] if self.core in IDS else matrix, model)
        return {name: part.contiguous() for name, part in zip(self.theirs, parts, strict=True)}


def rows(model: LmModelConfig) -> Iterator[WeightMapping]:
    """The table's rows for a model, in the model's order."""
    yield WeightMapping("embedding.word_embeddings.weight", ("model.embed_tokens.weight",), WHOLE)
    inside = _layer_lines(model, family_of(model))
    for layer in range(model.layers):
        for core, names, kind in inside:
            theirs = tuple(f"model.layers.{layer}.{name}" for name in names)
            yield WeightMapping(f"decoder.layers.{layer}.{core}", theirs, kind)
    yield WeightMapping("decoder.final_layernorm.weight", ("model.norm.weight",), WHOLE)
    if not model.tied:
        yield WeightMapping("output_layer.weight", ("lm_head.weight",), WHOLE)


def grown(
    read_rows: Callable[[int, int], Tensor], width: int, *, num_known: int, num_rows: int, noise: float, seed: int
) -> Tensor:
    """A matrix of one row an id with rows for new ids: the mean of the known ones and a little noise.

    Args:
        read_rows: gives rows ``start`` to ``stop`` of the known matrix; it is read in blocks.
        width: D.
        num_known: ids that mean something to the known matrix.
        num_rows: rows of the result, (num_rows, D) of the known matrix's type.
        noise: standard deviation of the new rows in that of the known rows, column by column.
        seed: of the noise.
    """
    num_known = min(num_known, num_rows)
    total = torch.zeros(2, width, dtype=torch.float64)
    result = torch.empty(num_rows, width, dtype=read_rows(0, 1).dtype)
    for start in range(0, num_known, BLOCK):
        block = read_rows(start, min(start + BLOCK, num_known))
        result[start : start + len(block)] = block
        wide = block.double()
        total += torch.stack([wide.sum(0), wide.square().sum(0)])
    mean = total[0] / num_known
    deviation = (total[1] / num_known - mean.square()).clamp_min(0).sqrt() * noise
    generator = torch.Generator().manual_seed(seed)
    for start in range(num_known, num_rows, BLOCK):
        part = result[start : start + BLOCK]
        part.copy_(mean + deviation * torch.randn(part.shape, generator=generator, dtype=torch.float64))
    return result


def _layer_lines(model: LmModelConfig, family: Family) -> list[Line]:
    lines = [*LAYER, GATE_UP if family.is_gate_fused else GATE_AND_UP]
    for is_there, more in ((model.qkv_bias, QKV_BIAS), (model.qk_norm, QK_NORM), (model.sandwich_norm, SANDWICH_NORM)):
        lines += more if is_there else []
    return lines
