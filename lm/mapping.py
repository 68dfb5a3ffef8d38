"""Weights of megatron-core's GPTModel as those of a Hugging Face Llama, as a table.

Shapes: G key/value groups, Q query heads a group, H head width, D width, F inner width of the feed-forward.

megatron-core keeps queries, keys and values of one group together, (G, Q + 2, H, D), and gate and up one above the
other, (2 F, D). Nothing else differs but names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .model_config import ModelConfig

Split = Callable[[Tensor, ModelConfig], dict[str, Tensor]]


def split_qkv(fused: Tensor, model: ModelConfig) -> dict[str, Tensor]:
    """Queries (G Q H, D), keys (G H, D) and values (G H, D) of the fused matrix (G (Q + 2) H, D)."""
    per_group = model.heads // model.kv_heads
    grouped = fused.view(model.kv_heads, per_group + 2, model.head_width, model.hidden)
    queries, keys, values = grouped.split([per_group, 1, 1], dim=1)
    parts = {"q_proj": queries, "k_proj": keys, "v_proj": values}
    return {f"self_attn.{name}.weight": part.reshape(-1, model.hidden) for name, part in parts.items()}


def split_gate(fused: Tensor, model: ModelConfig) -> dict[str, Tensor]:
    """Gate (F, D) and up (F, D) of the fused matrix (2 F, D)."""
    gate, up = fused.view(2, model.ffn, model.hidden)
    return {"mlp.gate_proj.weight": gate, "mlp.up_proj.weight": up}


def renamed(name: str) -> Split:
    """The matrix as it is, under another name."""
    return lambda weight, _: {name: weight}


# One layer's weights. The second name of a norm is Transformer Engine's, which fuses it into the matrix after it.
LAYER: Mapping[str, Split] = {
    "input_layernorm.weight": renamed("input_layernorm.weight"),
    "self_attention.linear_qkv.layer_norm_weight": renamed("input_layernorm.weight"),
    "self_attention.linear_qkv.weight": split_qkv,
    "self_attention.linear_proj.weight": renamed("self_attn.o_proj.weight"),
    "pre_mlp_layernorm.weight": renamed("post_attention_layernorm.weight"),
    "mlp.linear_fc1.layer_norm_weight": renamed("post_attention_layernorm.weight"),
    "mlp.linear_fc1.weight": split_gate,
    "mlp.linear_fc2.weight": renamed("mlp.down_proj.weight"),
}
WHOLE: Mapping[str, str] = {
    "embedding.word_embeddings.weight": "model.embed_tokens.weight",
    "decoder.final_layernorm.weight": "model.norm.weight",
    "output_layer.weight": "lm_head.weight",
}


def to_llama(weights: Mapping[str, Tensor], model: ModelConfig) -> dict[str, Tensor]:
    """Rename and split ``weights`` of an unsharded GPTModel; fp32, contiguous.

    Raises:
        ValueError: a weight that the table does not know.
    """
    llama: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name in WHOLE:
            if name != "output_layer.weight" or not model.tied:
                llama[WHOLE[name]] = weight
            continue
        start, _, rest = name.removeprefix("decoder.layers.").partition(".")
        if not name.startswith("decoder.layers.") or rest not in LAYER:
            raise ValueError(f"{name}: no such weight in the table of lm/mapping.py")
        split = LAYER[rest](weight, model)
        llama |= {f"model.layers.{start}.{part}": value for part, value in split.items()}
    return {name: weight.to(torch.float32).contiguous().clone() for name, weight in llama.items()}
