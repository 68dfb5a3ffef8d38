"""Layer specs: a decoder layer of Transformer Engine's modules where it imports, else of megatron-core's local ones.

Positions are turned by `lm.training.rotary.RotarySelfAttention` in both. Three more of the local modules are our own,
for reasons given there: `lm.training.norm.RMSNorm`, `lm.training.attention.CausalAttention` and
`lm.training.swiglu.SwiGLU`.
"""

from __future__ import annotations

import torch
from megatron.core.models.gpt.gpt_layer_specs import (
    get_gpt_layer_local_spec,
    get_gpt_layer_with_transformer_engine_spec,
)
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules, get_num_layers_to_build
from megatron.core.transformer.transformer_config import TransformerConfig

from .attention import CausalAttention
from .norm import RMSNorm
from .post_norm import with_output_norm
from .rotary import RotarySelfAttention
from .swiglu import SwiGLU


def has_transformer_engine() -> bool:
    """Whether Transformer Engine imports and a CUDA device is there to run it."""
    if not torch.cuda.is_available():
        return False
    try:
        import transformer_engine.pytorch  # noqa: F401
    except ImportError:
        return False
    return True


def layer_spec(
    config: TransformerConfig, virtual_stage: int | None, *, sandwich_norm: bool = False
) -> ModuleSpec | TransformerBlockSubmodules:
    """The spec of this process's decoder layers and last norm; ``sandwich_norm``: see `lm.training.post_norm`."""
    if config.transformer_impl == "transformer_engine":
        spec = get_gpt_layer_with_transformer_engine_spec(qk_layernorm=config.qk_layernorm)
        spec.submodules.self_attention.module = RotarySelfAttention
        if sandwich_norm:
            _normalise_outputs(spec)
        return spec
    spec = get_gpt_layer_local_spec(normalization="RMSNorm", qk_layernorm=config.qk_layernorm)
    if sandwich_norm:
        _normalise_outputs(spec)
    spec.submodules.input_layernorm = RMSNorm
    spec.submodules.pre_mlp_layernorm = RMSNorm
    spec.submodules.mlp.submodules.activation_func = SwiGLU  # only asked for where use_te_activation_func is set
    spec.submodules.self_attention.module = RotarySelfAttention
    attention = spec.submodules.self_attention.submodules
    attention.core_attention = CausalAttention
    if config.qk_layernorm:
        attention.q_layernorm = attention.k_layernorm = RMSNorm
    num_layers = get_num_layers_to_build(config, vp_stage=virtual_stage)
    return TransformerBlockSubmodules(layer_specs=[spec] * num_layers, layer_norm=RMSNorm)


def _normalise_outputs(spec: ModuleSpec) -> None:
    attention, mlp = spec.submodules.self_attention.submodules, spec.submodules.mlp.submodules
    attention.linear_proj = with_output_norm(attention.linear_proj)
    mlp.linear_fc2 = with_output_norm(mlp.linear_fc2)
