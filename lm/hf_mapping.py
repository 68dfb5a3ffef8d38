"""The table between megatron-core's parameter names and Hugging Face's Llama, read in both directions.

megatron-core keeps query, key and value in one matrix, group by group, and SwiGLU's gate and up in another::

    linear_qkv  rows:  [q q k v] [q q k v] ...      one bracket a key-value head, heads / kv_heads queries in it
    linear_fc1  rows:  [gate] [up]

Both sides are whole (not divided by tensor parallel). Shapes: V ids, D hidden, H heads, G key-value heads, R = H / G
queries of a group, W width of a head.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .model_config import ModelConfig

Weights = Mapping[str, Tensor]


class Rule(NamedTuple):
    """One row of the table.

    Attributes:
        core: megatron-core's name; ``{}`` is the layer.
        llama: Hugging Face's names, the parts of the core's matrix.
        split: core matrix -> parts.
        join: parts -> core matrix.
    """

    core: str
    llama: tuple[str, ...]
    split: Callable[[Tensor, ModelConfig], tuple[Tensor, ...]]
    join: Callable[[tuple[Tensor, ...], ModelConfig], Tensor]


def _whole(matrix: Tensor, model: ModelConfig) -> tuple[Tensor, ...]:
    return (matrix,)


def _only(parts: tuple[Tensor, ...], model: ModelConfig) -> Tensor:
    return parts[0]


def _split_qkv(matrix: Tensor, model: ModelConfig) -> tuple[Tensor, ...]:
    groups, per_group, width = model.kv_heads, model.heads // model.kv_heads, model.head_width
    heads = matrix.view(groups, per_group + 2, width, -1)  # (G, R + 2, W, D)
    parts = heads.split([per_group, 1, 1], dim=1)
    return tuple(part.reshape(-1, matrix.size(-1)) for part in parts)


def _join_qkv(parts: tuple[Tensor, ...], model: ModelConfig) -> Tensor:
    heads = [part.view(model.kv_heads, -1, model.head_width, part.size(-1)) for part in parts]
    return torch.cat(heads, dim=1).reshape(-1, parts[0].size(-1))


def _split_halves(matrix: Tensor, model: ModelConfig) -> tuple[Tensor, ...]:
    return tuple(matrix.chunk(2))


def _join_halves(parts: tuple[Tensor, ...], model: ModelConfig) -> Tensor:
    return torch.cat(parts)


_LAYER, _THEIRS = "decoder.layers.{}.", "model.layers.{}."
TABLE = [
    Rule("embedding.word_embeddings.weight", ("model.embed_tokens.weight",), _whole, _only),
    Rule("decoder.final_layernorm.weight", ("model.norm.weight",), _whole, _only),
    Rule("output_layer.weight", ("lm_head.weight",), _whole, _only),
    Rule(_LAYER + "input_layernorm.weight", (_THEIRS + "input_layernorm.weight",), _whole, _only),
    Rule(
        _LAYER + "self_attention.linear_qkv.weight",
        tuple(f"{_THEIRS}self_attn.{part}_proj.weight" for part in "qkv"),
        _split_qkv,
        _join_qkv,
    ),
    Rule(_LAYER + "self_attention.linear_proj.weight", (_THEIRS + "self_attn.o_proj.weight",), _whole, _only),
    Rule(_LAYER + "pre_mlp_layernorm.weight", (_THEIRS + "post_attention_layernorm.weight",), _whole, _only),
    Rule(
        _LAYER + "mlp.linear_fc1.weight",
        (_THEIRS + "mlp.gate_proj.weight", _THEIRS + "mlp.up_proj.weight"),
        _split_halves,
        _join_halves,
    ),
    Rule(_LAYER + "mlp.linear_fc2.weight", (_THEIRS + "mlp.down_proj.weight",), _whole, _only),
]
# Transformer Engine's layers hold the norms inside the matrices that follow them.
ENGINE_NAMES = {
    "self_attention.linear_qkv.layer_norm_weight": "input_layernorm.weight",
    "mlp.linear_fc1.layer_norm_weight": "pre_mlp_layernorm.weight",
}


def to_llama(weights: Weights, model: ModelConfig, num_ids: int) -> dict[str, Tensor]:
    """Hugging Face's names and matrices; the rows that pad the vocabulary are left out.

    Args:
        weights: megatron-core's, whole.
        model: the shape.
        num_ids: size of the vocabulary.
    """
    named = {_local_name(name): weight for name, weight in weights.items() if not name.endswith("_extra_state")}
    result: dict[str, Tensor] = {}
    for rule, core, llama in _rows(model):
        if rule.core == "output_layer.weight" and model.tied:
            named.pop(core, None)
            continue
        weight = named.pop(core)
        if rule.core.startswith(("embedding", "output_layer")):
            weight = weight[:num_ids]
        for name, part in zip(llama, rule.split(weight, model), strict=True):
            result[name] = part.contiguous().clone()
    assert not named, f"not in the table: {sorted(named)}"
    return result


def from_llama(weights: Weights, model: ModelConfig, num_rows: int) -> dict[str, Tensor]:
    """megatron-core's names and matrices (local layers); missing rows of the vocabulary get the mean of the others.

    Args:
        weights: Hugging Face's.
        model: the shape.
        num_rows: padded size of the vocabulary.
    """
    result: dict[str, Tensor] = {}
    for rule, core, llama in _rows(model):
        if rule.core == "output_layer.weight" and model.tied:
            continue
        weight = rule.join(tuple(weights[name] for name in llama), model)
        if rule.core.startswith(("embedding", "output_layer")):
            new_rows = weight.mean(0, keepdim=True).expand(max(0, num_rows - len(weight)), -1)
            weight = torch.cat([weight[:num_rows], new_rows])
        result[core] = weight
    return result


def _rows(model: ModelConfig) -> Iterator[tuple[Rule, str, tuple[str, ...]]]:
    for rule in TABLE:
        for layer in range(model.layers) if "{}" in rule.core else [0]:
            yield rule, rule.core.format(layer), tuple(name.format(layer) for name in rule.llama)


def _local_name(name: str) -> str:
    match = re.fullmatch(r"(decoder\.layers\.\d+\.)(.*)", name)
    return match[1] + ENGINE_NAMES.get(match[2], match[2]) if match else name
