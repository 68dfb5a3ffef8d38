"""The Hugging Face model families: one table, read by import, export and generation.

| family  | biases on q, k, v  | norms on q, k | norms of a layer | rotary positions                  | feed-forward |
|---------|--------------------|---------------|------------------|-----------------------------------|--------------|
| llama   | no                 | no            | before           | halves, whole head (3.1: slowed)  | gate, up     |
| qwen2   | yes                | no            | before           | halves, whole head                | gate, up     |
| qwen3   | no                 | yes           | before           | halves, whole head                | gate, up     |
| glm     | as its config says | no            | before           | neighbours, a share of a head     | one matrix   |
| glm4    | as its config says | no            | before and after | neighbours, a share of a head     | one matrix   |
| mistral | no                 | no            | before           | halves, whole head                | gate, up     |

GLM-4-9B (2024) is ``glm``, GLM-4-0414 ``glm4``; Qwen2.5 is ``qwen2``. A sliding window, as early Mistrals have, is
refused.

To add a family, add a row to `FAMILIES`: its features, and its names of a layer's weights where they differ from
Llama's. Export finds the family by the shape (`Family.holds`); of several it takes the one that ``model.family`` names,
which import sets, else the first.
`lm.huggingface.mappings` then converts its weights in both directions, `lm.huggingface.model_configs` its
``config.json``, and tests/lm/test_import_hf.py checks logits and weights of a small random model of each row. A family
whose layer computes something that `lm.training.model_config.LmModelConfig` cannot express needs that feature there
first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from lm.training.model_config import LmModelConfig
from runtime.errors import UserError

Division = Literal["whole", "halves", "qkv"]


class LayerWeight(NamedTuple):
    """One weight of a layer.

    Attributes:
        megatron: megatron-core's name, under a layer of the local spec.
        huggingface: names of the parts, under a layer.
        division: of megatron-core's matrix among them, see `lm.huggingface.mappings`.
    """

    megatron: str
    huggingface: tuple[str, ...]
    division: Division = "whole"


LAYER = (
    LayerWeight("input_layernorm.weight", ("input_layernorm.weight",)),
    LayerWeight("self_attention.linear_qkv.weight", tuple(f"self_attn.{part}_proj.weight" for part in "qkv"), "qkv"),
    LayerWeight("self_attention.linear_proj.weight", ("self_attn.o_proj.weight",)),
    LayerWeight("pre_mlp_layernorm.weight", ("post_attention_layernorm.weight",)),
    LayerWeight("mlp.linear_fc2.weight", ("mlp.down_proj.weight",)),
)
GATE_AND_UP = (LayerWeight("mlp.linear_fc1.weight", ("mlp.gate_proj.weight", "mlp.up_proj.weight"), "halves"),)
FUSED_GATE_UP = (LayerWeight("mlp.linear_fc1.weight", ("mlp.gate_up_proj.weight",)),)
QKV_BIAS = (
    LayerWeight("self_attention.linear_qkv.bias", tuple(f"self_attn.{part}_proj.bias" for part in "qkv"), "qkv"),
)
QK_NORM = (
    LayerWeight("self_attention.q_layernorm.weight", ("self_attn.q_norm.weight",)),
    LayerWeight("self_attention.k_layernorm.weight", ("self_attn.k_norm.weight",)),
)
OUTPUT_NORMS = (  # of `lm.training.post_norm`
    LayerWeight("self_attention.linear_proj.output_norm.weight", ("post_self_attn_layernorm.weight",)),
    LayerWeight("mlp.linear_fc2.output_norm.weight", ("post_mlp_layernorm.weight",)),
)


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row of the table.

    Attributes:
        name: Hugging Face's ``model_type``.
        architecture: its class.
        weights: of a layer; biases are left out of a model without them.
        qkv_bias: biases on query, key and value; None: the config's ``attention_bias`` decides.
        qk_norm: norms on each head's query and key.
        sandwich_norm: norms after attention and feed-forward too.
        rope_interleaved: neighbouring columns of a head are turned, instead of its halves.
        rope_types: kinds of rotary positions that import and export know.
        sliding_window: positions that its class attends to where the config names none; None: all. A window that is set
            is refused.
    """

    name: str
    architecture: str
    weights: tuple[LayerWeight, ...] = (*LAYER, *GATE_AND_UP)
    qkv_bias: bool | None = False
    qk_norm: bool = False
    sandwich_norm: bool = False
    rope_interleaved: bool = False
    rope_types: tuple[str, ...] = ("default",)
    sliding_window: int | None = None

    def holds(self, model: LmModelConfig) -> bool:
        """Whether the family's class can hold a model of this shape, and ``model.family`` names no other."""
        features = ("qk_norm", "sandwich_norm", "rope_interleaved")
        return (
            model.family in ("", self.name)
            and all(getattr(model, name) == getattr(self, name) for name in features)
            and self.qkv_bias in (None, model.qkv_bias)
            and (model.rope_share == 1.0 or self.rope_interleaved)
            and (model.rope_scaling == 1.0 or "llama3" in self.rope_types)
        )

    def layer_weights(self, model: LmModelConfig) -> list[LayerWeight]:
        """The weights that a layer of ``model`` has."""
        return [weight for weight in self.weights if model.qkv_bias or not weight.megatron.endswith(".bias")]


FAMILIES = (
    Family(name="llama", architecture="LlamaForCausalLM", rope_types=("default", "llama3")),
    Family(
        name="qwen2",
        architecture="Qwen2ForCausalLM",
        weights=(*LAYER, *GATE_AND_UP, *QKV_BIAS),
        qkv_bias=True,
    ),
    Family(
        name="qwen3",
        architecture="Qwen3ForCausalLM",
        weights=(*LAYER, *GATE_AND_UP, *QK_NORM),
        qk_norm=True,
    ),
    Family(
        name="glm",
        architecture="GlmForCausalLM",
        weights=(*LAYER, *FUSED_GATE_UP, *QKV_BIAS),
        qkv_bias=None,
        rope_interleaved=True,
    ),
    Family(
        name="glm4",
        architecture="Glm4ForCausalLM",
        weights=(*LAYER, *FUSED_GATE_UP, *QKV_BIAS, *OUTPUT_NORMS),
        qkv_bias=None,
        sandwich_norm=True,
        rope_interleaved=True,
    ),
    Family(name="mistral", architecture="MistralForCausalLM", sliding_window=4096),
)


def family_of(model: LmModelConfig) -> Family:
    """The family whose class can hold a model of this shape.

    Raises:
        UserError: none can.
    """
    for family in FAMILIES:
        if family.holds(model):
            return family
    features = ("qkv_bias", "qk_norm", "sandwich_norm", "rope_interleaved")
    named = (*features, "rope_share", "rope_scaling", "family")
    found = ", ".join(f"model.{name}={getattr(model, name)}" for name in named)
    known = "; ".join(
        f"{family.name} ({', '.join(str(getattr(family, name)) for name in features)})" for family in FAMILIES
    )
    remedy = f"no Hugging Face class has this shape; ({', '.join(features)}) of those known: {known}"
    raise UserError("export", found=found, remedy=remedy)
