"""For each Hugging Face family, the features by which `LmModelConfig` tells it from the others."""

from __future__ import annotations

from typing import Any

FAMILY_SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen2": {"qkv_bias": True},
    "qwen3": {"qk_norm": True, "head_size": 16},
    "glm": {"qkv_bias": True, "rope_interleaved": True, "rope_share": 0.5},
    "glm4": {"qkv_bias": True, "rope_interleaved": True, "rope_share": 0.5, "sandwich_norm": True},
    "mistral": {"family": "mistral"},
}
