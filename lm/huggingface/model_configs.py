"""``config.json`` of Hugging Face's families, written from and read as an `LmModelConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lm.training.model_config import LmModelConfig
from runtime.errors import UserError

from .families import FAMILIES, Family, family_of

DTYPE_NAMES = {"fp32": "float32", "bf16": "bfloat16"}
# Constants of Llama-3.1's rotary positions besides its factor; megatron-core knows no others.
LLAMA3_ROPE = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
GLM_ROPE_SHARE = 0.5  # where a GLM's config does not say


def huggingface_config(
    model: LmModelConfig, *, num_ids: int, max_positions: int, dtype: str, eos: int | list[int], pad: int
) -> dict[str, Any]:
    """``config.json`` of an exported model; ``eos`` are the ids that end a generation.

    Raises:
        UserError: a shape that no family has, or no more positions than rotary positions that are slowed had before.
    """
    family = family_of(model)
    original = int(LLAMA3_ROPE["original_max_position_embeddings"])
    if model.rope_scaling != 1.0 and max_positions <= original:
        found = f"{max_positions}, with rotary positions that are slowed to reach past {original}"
        raise UserError("option max_positions", found=found, remedy=f"give more than {original}, or 0")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": model.rope_base}
    if model.rope_scaling != 1.0:
        rope |= {"rope_type": "llama3", "factor": model.rope_scaling, **LLAMA3_ROPE}
    if model.rope_share != 1.0:
        rope["partial_rotary_factor"] = model.rope_share
    windows = {} if family.sliding_window is None else {"sliding_window": None}
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
        **windows,
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
        remedy = f"models of these types can be imported: {known}, and chatglm (GLM-4-9B's original format)"
        raise UserError(subject, found=found, remedy=remedy)
    rope = _rope_of(content, subject)
    _refuse_unknown_features(content, family, rope, subject)
    share = rope.get("partial_rotary_factor", content.get("partial_rotary_factor", GLM_ROPE_SHARE))
    try:
        model = LmModelConfig(
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
            norm_epsilon=float(content["rms_norm_eps"]),
            vocabulary_multiple=vocabulary_multiple,
        )
    except KeyError as error:
        raise UserError(subject, found=f"no {error}", remedy="give a whole config.json") from error
    return model if family_of(model) is family else replace(model, family=family.name)


def _rope_of(content: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """The rotary positions, under the name of transformers 5 or the older one, by which users stretch a context.

    Raises:
        UserError: both, with different values: readers differ in which of them they take.
    """
    rope, older = dict(content.get("rope_parameters") or {}), dict(content.get("rope_scaling") or {})
    if rope and older:
        named = {"rope_type": _rope_type(older)} | {name: older[name] for name in older if name != "type"}
        other = {name: value for name, value in named.items() if rope.get(name) != value}
        if other:
            found = f"rope_scaling {older} and rope_parameters {rope}"
            raise UserError(subject, found=found, remedy="leave the one that the model was trained with")
    return rope or older


def _rope_type(rope: Mapping[str, Any]) -> str:
    return str(rope.get("rope_type", rope.get("type", "default")))


def _refuse_unknown_features(content: Mapping[str, Any], family: Family, rope: Mapping[str, Any], subject: str) -> None:
    """Raise a `UserError` for features that a family's config may ask for and `LmModelConfig` has not."""
    window = content.get("sliding_window", family.sliding_window) if content.get("use_sliding_window", True) else None
    kinds = content.get("layer_types") or []
    unknown = {
        "rope_type": _rope_type(rope) if _rope_type(rope) not in family.rope_types else None,
        "hidden_act": content.get("hidden_act") if content.get("hidden_act", "silu") != "silu" else None,
        "sliding_window": window or None,
        "layer_types": "sliding_attention" if "sliding_attention" in kinds else None,
        "mlp_bias": content.get("mlp_bias") or None,
        "attention_bias": content.get("attention_bias") or None,
        "quantization_config": content.get("quantization_config"),
    }
    if family.qkv_bias is not False:
        del unknown["attention_bias"]
    if _rope_type(rope) == "llama3":
        unknown |= {name: rope.get(name) for name, value in LLAMA3_ROPE.items() if rope.get(name, value) != value}
    for name, value in unknown.items():
        if value is not None:
            remedy = "our decoder does not have that: choose another model"
            raise UserError(subject, found=f"{name}: {value}", remedy=remedy)
