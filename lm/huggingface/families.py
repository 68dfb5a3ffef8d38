"""The Hugging Face model families our decoder is an instance of, and their ``config.json``.

| family | biases on q, k, v | norms on q, k | norms of a layer | rotary positions              | feed-forward |
|--------|-------------------|---------------|------------------|-------------------------------|--------------|
| llama  | no                | no            | before           | halves, whole head (3.1: slowed down) | gate, up |
| qwen2  | yes               | no            | before           | halves, whole head            | gate, up     |
| qwen3  | no                | yes           | before           | halves, whole head            | gate, up     |
| glm    | as its config says | no           | before           | neighbours, a share of a head | one matrix   |
| glm4   | as its config says | no           | before and after | neighbours, a share of a head | one matrix   |

GLM-4-9B (2024) is ``glm``, GLM-4-0414 ``glm4``; Qwen2.5 is ``qwen2``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lm.training.model_config import LmModelConfig
from runtime.errors import UserError


class Family(NamedTuple):
    """One row of the table.

    Attributes:
        name: Hugging Face's ``model_type``.
        architecture: its class.
        qkv_bias: biases on query, key and value; None: the config's ``attention_bias`` decides.
        qk_norm: norms on each head's query and key.
        sandwich_norm: norms after attention and feed-forward too.
        rope_interleaved: neighbouring columns are turned.
        is_gate_fused: gate and up are one matrix.
    """

    name: str
    architecture: str
    qkv_bias: bool | None = False
    qk_norm: bool = False
    sandwich_norm: bool = False
    rope_interleaved: bool = False
    is_gate_fused: bool = False

    def holds(self, model: LmModelConfig) -> bool:
        """Whether the family's class can hold a model of this shape."""
        features = ("qk_norm", "sandwich_norm", "rope_interleaved")
        return (
            all(getattr(model, name) == getattr(self, name) for name in features)
            and self.qkv_bias in (None, model.qkv_bias)
            and (model.rope_share == 1.0 or self.rope_interleaved)
            and (model.rope_scaling == 1.0 or self.name == "llama")
        )


FAMILIES = (
    Family("llama", "LlamaForCausalLM"),
    Family("qwen2", "Qwen2ForCausalLM", qkv_bias=True),
    Family("qwen3", "Qwen3ForCausalLM", qk_norm=True),
    Family("glm", "GlmForCausalLM", qkv_bias=None, rope_interleaved=True, is_gate_fused=True),
    Family("glm4", "Glm4ForCausalLM", None, sandwich_norm=True, rope_interleaved=True, is_gate_fused=True),
)
DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16"}
# What Llama-3.1 fixed beside its factor; megatron-core knows no others.
LLAMA3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def family_of(model: LmModelConfig) -> Family:
    """The family whose class can hold a model of this shape.

    Raises:
        UserError: none can.
    """
    for family in FAMILIES:
        if family.holds(model):
            return family
    features = ("qkv_bias", "qk_norm", "sandwich_norm", "rope_interleaved", "rope_share", "rope_scaling")
    found = ", ".join(f"model.{name}={getattr(model, name)}" for name in features)
    known = "; ".join(f"{family.name} {family[2:6]}" for family in FAMILIES)
    remedy = (
        "no Hugging Face class has this shape; (qkv_bias, qk_norm, sandwich_norm, rope_interleaved) "
        f"of those known: {known}"
    )
    raise UserError("export", found=found, remedy=remedy)


def huggingface_config(
    model: LmModelConfig, *, num_ids: int, max_positions: int, dtype: str, eos: int, pad: int
) -> dict[str, Any]:
    """``config.json`` of an exported model."""
    family = family_of(model)
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": model.rope_base}
    if model.rope_scaling != 1.0:
        rope |= {"rope_type": "llama3", "factor": model.rope_scaling, **LLAMA3_ROPE}
    if model.rope_share != 1.0:
        rope["partial_rotary_factor"] = model.rope_share
    return {
        "architectures": [family.architecture],
        "model_type": family.name,
        "vocab_size": num_ids,
        "hidden_size": model.hidden,
        "intermediate_size": model.ffn,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": model.head_width,
        "hidden_act": "silu",
        "max_position_embeddings": max_positions,
        "rms_norm_eps": model.norm_epsilon,
        "rope_theta": model.rope_base,  # where older readers look
        "partial_rotary_factor": model.rope_share,
        "rope_parameters": rope,
        "tie_word_embeddings": model.tied,
        "attention_bias": model.qkv_bias and family.qkv_bias is None,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "dtype": DTYPE_NAMES[dtype],
        "torch_dtype": DTYPE_NAMES[dtype],  # where readers older than transformers 5 look
    }


def model_config(content: Mapping[str, Any], *, vocabulary_multiple: int, subject: str) -> LmModelConfig:
    """The shape that a ``config.json`` describes.

    Args:
        content: the file's content.
        vocabulary_multiple: of the resulting config.
        subject: the file, for errors.

    Raises:
        UserError: another family, or a feature that our decoder does not have.
    """
    family = next((family for family in FAMILIES if family.name == content.get("model_type")), None)
    if family is None:
        known = ", ".join(f"{family.name} ({family.architecture})" for family in FAMILIES)
        found = f"model_type {content.get('model_type')!r}, architectures {content.get('architectures')}"
        remedy = f"models of these types can be imported: {known}"
        if content.get("model_type") == "chatglm":
            remedy += '; of GLM-4 take the conversion for transformers (its folder or hub name ends in "-hf")'
        raise UserError(subject, found=found, remedy=remedy)
    rope = dict(content.get("rope_parameters") or content.get("rope_scaling") or {})
    _refuse_strange(content, family, rope, subject)
    share = rope.get("partial_rotary_factor", content.get("partial_rotary_factor", 0.5))
    try:
        return LmModelConfig(
            layers=content["num_hidden_layers"],
            hidden=content["hidden_size"],
            heads=content["num_attention_heads"],
            kv_heads=content.get("num_key_value_heads") or content["num_attention_heads"],
            ffn=content["intermediate_size"],
            tied=bool(content.get("tie_word_embeddings", False)),
            head_size=content.get("head_dim") or 0,
            rope_base=float(rope.get("rope_theta", content.get("rope_theta", 10000.0))),
            rope_share=float(share) if family.rope_interleaved else 1.0,
            rope_interleaved=family.rope_interleaved,
            qkv_bias=bool(content.get("attention_bias", True)) if family.qkv_bias is None else family.qkv_bias,
            qk_norm=family.qk_norm,
            sandwich_norm=family.sandwich_norm,
            rope_scaling=float(rope["factor"]) if _rope_type(rope) == "llama3" else 1.0,
            norm_epsilon=float(content.get("rms_norm_eps", 1e-6)),
            vocabulary_multiple=vocabulary_multiple,
        )
    except KeyError as error:
        raise UserError(subject, found=f"no {error}", remedy="give a whole config.json") from error


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))


def _refuse_strange(content: Mapping[str, Any], family: Family, rope: Mapping[str, Any], subject: str) -> None:
    """Raise a `UserError` for what a family's config may ask of the model and ours has not."""
    allowed = ("default", "llama3") if family.name == "llama" else ("default",)
    sliding = content.get("use_sliding_window") or "sliding_attention" in (content.get("layer_types") or [])
    strange = {
        "rope_type": _rope_type(rope) if _rope_type(rope) not in allowed else None,
        "hidden_act": content.get("hidden_act") if content.get("hidden_act", "silu") != "silu" else None,
        "use_sliding_window": sliding or None,
        "mlp_bias": content.get("mlp_bias") or None,
        "attention_bias": content.get("attention_bias") or None,
        "quantization_config": content.get("quantization_config"),
    }
    if family.qkv_bias is not False:
        del strange["attention_bias"]
    if _rope_type(rope) == "llama3":
        strange |= {name: rope.get(name) for name, value in LLAMA3_ROPE.items() if rope.get(name, value) != value}
    for name, value in strange.items():
        if value is not None:
            remedy = "our decoder does not have that: choose another model"
            raise UserError(subject, found=f"{name}: {value}", remedy=remedy)
