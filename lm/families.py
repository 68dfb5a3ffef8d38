"""The Hugging Face model families our decoder is an instance of, and their ``config.json``.

| family | biases on q, k, v | norms on q, k | rotary positions              | feed-forward matrices |
|--------|-------------------|---------------|-------------------------------|-----------------------|
| llama  | no                | no            | halves, whole head            | gate, up              |
| qwen2  | yes               | no            | halves, whole head            | gate, up              |
| qwen3  | no                | yes           | halves, whole head            | gate, up              |
| glm    | yes               | no            | neighbours, a share of a head | one                   |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from corpus.errors import UserError

from .model_config import ModelConfig


class Family(NamedTuple):
    """One row of the table.

    Attributes:
        name: Hugging Face's ``model_type``.
        architecture: its class.
        qkv_bias: biases on query, key and value.
        qk_norm: norms on each head's query and key.
        rope_interleaved: neighbouring columns are turned.
        is_gate_fused: gate and up are one matrix.
    """

    name: str
    architecture: str
    qkv_bias: bool = False
    qk_norm: bool = False
    rope_interleaved: bool = False
    is_gate_fused: bool = False


FAMILIES = (
    Family("llama", "LlamaForCausalLM"),
    Family("qwen2", "Qwen2ForCausalLM", qkv_bias=True),
    Family("qwen3", "Qwen3ForCausalLM", qk_norm=True),
    Family("glm", "GlmForCausalLM", qkv_bias=True, rope_interleaved=True, is_gate_fused=True),
)


def family_of(model: ModelConfig) -> Family:
    """The family whose class can hold a model of this shape.

    Raises:
        UserError: none can.
    """
    for family in FAMILIES:
        same = all(
            getattr(model, name) == getattr(family, name) for name in ("qkv_bias", "qk_norm", "rope_interleaved")
        )
        if same and (model.rope_share == 1.0 or family.rope_interleaved):
            return family
    features = ("qkv_bias", "qk_norm", "rope_interleaved", "rope_share")
    found = ", ".join(f"model.{name}={getattr(model, name)}" for name in features)
    known = "; ".join(f"{family.name} {family[2:5]}" for family in FAMILIES)
    remedy = f"no Hugging Face class has this shape; (qkv_bias, qk_norm, rope_interleaved) of those known: {known}"
    raise UserError("export", found=found, remedy=remedy)


def huggingface_config(
    model: ModelConfig, *, num_ids: int, max_positions: int, dtype: str, eos: int, pad: int
) -> dict[str, Any]:
    """``config.json`` of an exported model."""
    family = family_of(model)
    rope = {"rope_type": "default", "rope_theta": model.rope_base}
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
        "attention_bias": family.name == "glm",
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "dtype": {"fp32": "float32", "bf16": "bfloat16"}[dtype],
    }


def model_config(content: Mapping[str, Any], *, vocabulary_multiple: int, subject: str) -> ModelConfig:
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
        known = ", ".join(family.name for family in FAMILIES)
        found = f"model_type {content.get('model_type')!r}"
        raise UserError(subject, found=found, remedy=f"models of these types can be imported: {known}")
    rope = dict(content.get("rope_parameters") or content.get("rope_scaling") or {})
    strange = {
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        "hidden_act": content.get("hidden_act", "silu") != "silu",
        "use_sliding_window": bool(content.get("use_sliding_window")),
        "mlp_bias": bool(content.get("mlp_bias")),
        "attention_bias": bool(content.get("attention_bias")) and family.name not in ("glm", "qwen2"),
    }
    for name, is_strange in strange.items():
        if is_strange:
            found = f"{name}: {rope.get('rope_type') if name == 'rope_type' else content.get(name)}"
            raise UserError(subject, found=found, remedy="our decoder does not have that: choose another model")
    share = rope.get("partial_rotary_factor", content.get("partial_rotary_factor", 0.5))
    return ModelConfig(
        layers=content["num_hidden_layers"],
        hidden=content["hidden_size"],
        heads=content["num_attention_heads"],
        kv_heads=content.get("num_key_value_heads") or content["num_attention_heads"],
        ffn=content["intermediate_size"],
        tied=bool(content.get("tie_word_embeddings", False)),
        head_size=content.get("head_dim") or 0,
        rope_base=float(rope.get("rope_theta", content.get("rope_theta", 10000.0))),
        rope_share=float(share) if family.name == "glm" else 1.0,
        rope_interleaved=family.rope_interleaved,
        qkv_bias=family.qkv_bias,
        qk_norm=family.qk_norm,
        norm_epsilon=float(content.get("rms_norm_eps", 1e-6)),
        vocabulary_multiple=vocabulary_multiple,
    )
