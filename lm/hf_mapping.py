"""The table between megatron-core's parameter names and Hugging Face's, read in both directions.

megatron-core keeps query, key and value in one matrix, group by group, and SwiGLU's gate and up in another::

    linear_qkv  rows:  [q q k v] [q q k v] ...      one bracket a key-value head, heads / kv_heads queries in it
    linear_fc1  rows:  [gate] [up]

Both sides are whole (not divided by tensor parallel). Shapes: G key-value heads, R = heads / G queries of a group,
W width of a head, D hidden (absent in biases).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .families import Family, family_of
from .model_config import ModelConfig

Weights = Mapping[str, Tensor]
Parts = tuple[Tensor, ...]


class Kind(NamedTuple):
    """How a core matrix is divided into parts, and put together from them."""

    split: Callable[[Tensor, ModelConfig], Parts]
    join: Callable[[Parts, ModelConfig], Tensor]


def _split_qkv(matrix: Tensor, model: ModelConfig) -> Parts:
    per_group = model.heads // model.kv_heads
    heads = matrix.view(model.kv_heads, per_group + 2, model.head_width, *matrix.shape[1:])  # (G, R + 2, W, D)
    return tuple(part.reshape(-1, *matrix.shape[1:]) for part in heads.split([per_group, 1, 1], dim=1))


def _join_qkv(parts: Parts, model: ModelConfig) -> Tensor:
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
LAYER: list[tuple[str, tuple[str, ...], Kind]] = [
    ("input_layernorm.weight", ("input_layernorm.weight",), WHOLE),
    ("self_attention.linear_qkv.weight", tuple(f"self_attn.{part}_proj.weight" for part in "qkv"), QKV),
    ("self_attention.linear_proj.weight", ("self_attn.o_proj.weight",), WHOLE),
    ("pre_mlp_layernorm.weight", ("post_attention_layernorm.weight",), WHOLE),
    ("mlp.linear_fc2.weight", ("mlp.down_proj.weight",), WHOLE),
]
QKV_BIAS = ("self_attention.linear_qkv.bias", tuple(f"self_attn.{part}_proj.bias" for part in "qkv"), QKV)
QK_NORM: list[tuple[str, tuple[str, ...], Kind]] = [
    ("self_attention.q_layernorm.weight", ("self_attn.q_norm.weight",), WHOLE),
    ("self_attention.k_layernorm.weight", ("self_attn.k_norm.weight",), WHOLE),
]
GATE_AND_UP = ("mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), HALVES)
GATE_UP = ("mlp.linear_fc1.weight", ("mlp.gate_up_proj.weight",), WHOLE)


def to_huggingface(weights: Weights, model: ModelConfig, num_ids: int) -> dict[str, Tensor]:
    """Hugging Face's names and matrices; the rows that pad the vocabulary are left out.

    Args:
        weights: megatron-core's (local layers), whole.
        model: the shape; it decides the family.
        num_ids: size of the vocabulary.
    """
    named = {name: weight for name, weight in weights.items() if not name.endswith("_extra_state")}
    result: dict[str, Tensor] = {}
    for core, theirs, kind in rows(model):
        weight = named.pop(core)
        parts = kind.split(weight[:num_ids] if core in IDS else weight, model)
        result |= {name: part.contiguous().clone() for name, part in zip(theirs, parts, strict=True)}
    named.pop("output_layer.weight", None)  # a tied model's is the embedding
    assert not named, f"not in the table: {sorted(named)}"
    return result


def from_huggingface(weights: Weights, model: ModelConfig, *, num_known: int, num_rows: int) -> dict[str, Tensor]:
    """megatron-core's names and matrices (local layers).

    Args:
        weights: Hugging Face's.
        model: the shape.
        num_known: ids that mean something to that model; rows of others become the mean of theirs.
        num_rows: padded size of the vocabulary.
    """
    result: dict[str, Tensor] = {}
    for core, theirs, kind in rows(model):
        weight = kind.join(tuple(weights[name] for name in theirs), model)
        if core in IDS:
            known = weight[: min(num_known, num_rows)]
            mean = known.float().mean(0, keepdim=True).to(known.dtype)
            weight = torch.cat([known, mean.expand(num_rows - len(known), -1)])
        result[core] = weight
    return result


def rows(model: ModelConfig) -> Iterator[tuple[str, tuple[str, ...], Kind]]:
    """The table's rows for a model: megatron-core's name, Hugging Face's names, kind."""
    for core, theirs in IDS.items():
        if core != "output_layer.weight" or not model.tied:
            yield core, (theirs,), WHOLE
    yield "decoder.final_layernorm.weight", ("model.norm.weight",), WHOLE
    inside = _layer_rows(model, family_of(model))
    for layer in range(model.layers):
        for core, names, kind in inside:
            yield f"decoder.layers.{layer}.{core}", tuple(f"model.layers.{layer}.{name}" for name in names), kind


def _layer_rows(model: ModelConfig, family: Family) -> list[tuple[str, tuple[str, ...], Kind]]:
    gate = GATE_UP if family.is_gate_fused else GATE_AND_UP
    return [*LAYER, gate, *([QKV_BIAS] if model.qkv_bias else []), *(QK_NORM if model.qk_norm else [])]
