"""Weight mappings between megatron-core and Hugging Face, read in both directions.

The names stand in `lm.huggingface.families`; here the matrices are divided and joined. megatron-core keeps query, key
and value in one matrix, group by group, and SwiGLU's gate and up in another::

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

from .families import Division, family_of

Parts = tuple[Tensor, ...]


class DivisionFunctions(NamedTuple):
    """The division of a matrix of megatron-core into parts, and its inverse."""

    split: Callable[[Tensor, LmModelConfig], Parts]
    join: Callable[[Parts, LmModelConfig], Tensor]


def _split_qkv(matrix: Tensor, model: LmModelConfig) -> Parts:
    per_group = model.heads // model.kv_heads
    heads = matrix.view(model.kv_heads, per_group + 2, model.head_width, *matrix.shape[1:])  # (G, R + 2, W, D)
    return tuple(part.reshape(-1, *matrix.shape[1:]) for part in heads.split([per_group, 1, 1], dim=1))


def _join_qkv(parts: Parts, model: LmModelConfig) -> Tensor:
    rest = parts[0].shape[1:]
    heads = [part.view(model.kv_heads, -1, model.head_width, *rest) for part in parts]  # (G, R or 1, W, D)
    return torch.cat(heads, dim=1).reshape(-1, *rest)


DIVISIONS: dict[Division, DivisionFunctions] = {
    "whole": DivisionFunctions(lambda matrix, _: (matrix,), lambda parts, _: parts[0]),
    "halves": DivisionFunctions(lambda matrix, _: tuple(matrix.chunk(2)), lambda parts, _: torch.cat(parts)),
    "qkv": DivisionFunctions(_split_qkv, _join_qkv),
}
EMBEDDING, OUTPUT_LAYER = "embedding.word_embeddings.weight", "output_layer.weight"
ID_MATRICES = (EMBEDDING, OUTPUT_LAYER)  # one row an id


class WeightMapping(NamedTuple):
    """One weight of a model.

    Attributes:
        megatron: megatron-core's name, of the local spec.
        huggingface: Hugging Face's names.
        division: of the matrix among them.
    """

    megatron: str
    huggingface: tuple[str, ...]
    division: Division = "whole"

    def to_megatron(self, read: Callable[[str], Tensor], model: LmModelConfig) -> Tensor:
        """megatron-core's matrix; ``read`` gives Hugging Face's by name."""
        return DIVISIONS[self.division].join(tuple(read(name) for name in self.huggingface), model)

    def to_huggingface(self, matrix: Tensor, model: LmModelConfig, num_ids: int) -> dict[str, Tensor]:
        """Hugging Face's names and matrices; the rows that pad the vocabulary are left out."""
        whole = matrix[:num_ids] if self.megatron in ID_MATRICES else matrix
        parts = DIVISIONS[self.division].split(whole, model)
        return {name: part.contiguous() for name, part in zip(self.huggingface, parts, strict=True)}


def weight_mappings(model: LmModelConfig) -> Iterator[WeightMapping]:
    """All weights of a model, in the model's order."""
    yield WeightMapping(EMBEDDING, ("model.embed_tokens.weight",))
    layer_weights = family_of(model).layer_weights(model)
    for layer in range(model.layers):
        for weight in layer_weights:
            names = tuple(f"model.layers.{layer}.{name}" for name in weight.huggingface)
            yield WeightMapping(f"decoder.layers.{layer}.{weight.megatron}", names, weight.division)
    yield WeightMapping("decoder.final_layernorm.weight", ("model.norm.weight",))
    if not model.tied:
        yield WeightMapping(OUTPUT_LAYER, ("lm_head.weight",))
