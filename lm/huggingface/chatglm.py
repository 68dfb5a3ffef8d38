"""The original format of GLM-4-9B and GLM-4-Voice (``model_type: chatglm``), read as the family ``glm``.

::

    transformer.embedding.word_embeddings.weight               model.embed_tokens.weight
    transformer.encoder.layers.N                               model.layers.N
        .input_layernorm.weight                                    .input_layernorm.weight
        .self_attention.query_key_value.weight, .bias              .self_attn.{q,k,v}_proj: rows, one after the other
        .self_attention.dense.weight                               .self_attn.o_proj.weight
        .post_attention_layernorm.weight                           .post_attention_layernorm.weight
        .mlp.dense_h_to_4h.weight                                  .mlp.gate_up_proj.weight
        .mlp.dense_4h_to_h.weight                                  .mlp.down_proj.weight
    transformer.encoder.final_layernorm.weight                 model.norm.weight
    transformer.output_layer.weight                            lm_head.weight

Its rotary positions turn neighbouring columns of the first half of a head, by the base 10,000 x ``rope_ratio``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from runtime.errors import UserError

from .weights import HuggingFaceWeights

MODEL_TYPE = "chatglm"
ROPE_BASE = 10000.0
NAMES = {
    "model.embed_tokens.weight": "transformer.embedding.word_embeddings.weight",
    "model.norm.weight": "transformer.encoder.final_layernorm.weight",
    "lm_head.weight": "transformer.output_layer.weight",
}
LAYER_NAMES = {
    "input_layernorm.weight": "input_layernorm.weight",
    "self_attn.o_proj.weight": "self_attention.dense.weight",
    "post_attention_layernorm.weight": "post_attention_layernorm.weight",
    "mlp.gate_up_proj.weight": "mlp.dense_h_to_4h.weight",
    "mlp.down_proj.weight": "mlp.dense_4h_to_h.weight",
}
# What the code of the format can do besides, and GLM-4-9B does not.
FIXED: dict[str, Any] = {"rmsnorm": True, "add_bias_linear": False, "original_rope": True, "post_layer_norm": True}
FIXED |= {"apply_residual_connection_post_layernorm": False, "pre_seq_len": None, "quantization_bit": 0}


def glm_config(content: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """The content of a ``config.json`` of this format in the words of the family ``glm``.

    Args:
        content: of the file.
        subject: the file, for errors.

    Raises:
        UserError: a feature that GLM-4-9B has not, or a missing entry.
    """
    for name, value in FIXED.items():
        if content.get(name, value) != value:
            found, remedy = f"{name}: {content[name]}", f"of this format models with {name}={value} can be imported"
            raise UserError(subject, found=found, remedy=remedy)
    try:
        heads = content["num_attention_heads"]
        groups = content["multi_query_group_num"] if content.get("multi_query_attention") else heads
        return {
            "model_type": "glm",
            "num_hidden_layers": content["num_layers"],
            "hidden_size": content["hidden_size"],
            "num_attention_heads": heads,
            "num_key_value_heads": groups,
            "head_dim": content["kv_channels"],
            "intermediate_size": content["ffn_hidden_size"],
            "rms_norm_eps": content["layernorm_epsilon"],
            "attention_bias": bool(content.get("add_qkv_bias", False)),
            "tie_word_embeddings": bool(content.get("tie_word_embeddings", False)),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": ROPE_BASE * float(content.get("rope_ratio", 1.0)),
                "partial_rotary_factor": 0.5,
            },
        }
    except KeyError as error:
        raise UserError(subject, found=f"no {error}", remedy="give a whole config.json") from error


class ChatGlmWeights(HuggingFaceWeights):
    """The tensors of a model of this format under the names of the family ``glm``.

    Args:
        folder: of the model.
        heads: query heads.
        kv_heads: key and value heads.
        head_width: of each.
    """

    def __init__(self, folder: Path, *, heads: int, kv_heads: int, head_width: int) -> None:
        super().__init__(folder)
        ends = list(accumulate(count * head_width for count in (heads, kv_heads, kv_heads)))
        self.rows = {part: slice(start, stop) for part, start, stop in zip("qkv", (0, *ends), ends, strict=False)}

    def check_names(self, wanted: set[str]) -> None:
        """As of other families, by the names of this format."""
        super().check_names({self._place(name)[0] for name in wanted})

    def read(self, name: str) -> Tensor:
        """A copy of one tensor."""
        original, rows = self._place(name)
        return super().read(original) if rows is None else super().read_rows(original, rows.start, rows.stop)

    def read_rows(self, name: str, start: int, stop: int) -> Tensor:
        """A copy of rows ``start`` to ``stop`` of a matrix."""
        original, rows = self._place(name)
        first = rows.start if rows else 0
        return super().read_rows(original, first + start, first + stop)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        original, rows = self._place(name)
        whole = super().shape(original)
        return whole if rows is None else (rows.stop - rows.start, *whole[1:])

    def dtype(self, name: str) -> torch.dtype:
        """The type of a tensor."""
        return super().read_rows(self._place(name)[0], 0, 1).dtype

    def _place(self, name: str) -> tuple[str, slice | None]:
        """The name in this format, and the rows of a tensor that is a part of that one."""
        if name in NAMES:
            return NAMES[name], None
        layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name)
        assert layer, name
        prefix, rest = f"transformer.encoder.layers.{layer[1]}.", layer[2]
        if part := re.fullmatch(r"self_attn\.([qkv])_proj\.(weight|bias)", rest):
            return f"{prefix}self_attention.query_key_value.{part[2]}", self.rows[part[1]]
        return prefix + LAYER_NAMES[rest], None
