"""The table of families: each config.json is its own inverse, and what the decoder has not is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lm.huggingface.families import FAMILIES, family_of
from lm.huggingface.model_configs import huggingface_config, model_config
from lm.training.model_config import LmModelConfig
from runtime.errors import UserError
from tests.support.family_shapes import FAMILY_SHAPES

VARIANTS = {
    "llama, tied": {"tied": True},
    "llama, 3.1": {"rope_scaling": 8.0},
    "glm4, no bias": FAMILY_SHAPES["glm4"] | {"qkv_bias": False},
}
SHAPES = FAMILY_SHAPES | VARIANTS


def test_every_family_is_tested() -> None:
    """tests/lm/test_import_hf.py holds logits and weights of these shapes."""
    assert [family.name for family in FAMILIES] == list(FAMILY_SHAPES)


@pytest.mark.parametrize("name", SHAPES)
def test_the_config_is_its_own_inverse(name: str) -> None:
    model = LmModelConfig(
        **{"layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 12, "norm_epsilon": 1e-6} | SHAPES[name]
    )
    content = huggingface_config(model, num_ids=32, max_positions=64, dtype="fp32", eos=0, pad=1)
    found = model_config(content, vocabulary_multiple=model.vocabulary_multiple, subject="config.json")
    assert replace(found, head_size=0) == replace(model, head_size=0) and found.head_width == model.head_width
    assert content["model_type"] == name.split(",")[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "llama .*, qwen2"),
        ({"model_type": "chatglm"}, "-hf"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type: yarn"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0}}, "low_freq_factor: 2.0"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"attention_bias": True}, "attention_bias"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"sliding_window": 4096}, "sliding_window: 4096"),
        ({"sliding_window": 4096, "use_sliding_window": True}, "sliding_window: 4096"),
        ({"model_type": "mistral"}, "sliding_window: 4096"),  # which its class has where nothing is said
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types: sliding_attention"),
    ],
)
def test_other_models_are_refused(changes: dict[str, Any], words: str) -> None:
    content = huggingface_config(LmModelConfig(), num_ids=8, max_positions=8, dtype="fp32", eos=0, pad=1) | changes
    with pytest.raises(UserError, match=words):
        model_config(content, vocabulary_multiple=64, subject="config.json")
    with pytest.raises(UserError, match="no Hugging Face class"):
        family_of(LmModelConfig(qk_norm=True, qkv_bias=True))


def test_of_two_families_of_one_shape_the_one_named_is_exported() -> None:
    shape = LmModelConfig()
    assert [family_of(replace(shape, family=name)).name for name in ("", "llama", "mistral")] == [
        "llama",
        "llama",
        "mistral",
    ]
    for name in ("qwen3", "gpt2"):
        with pytest.raises(UserError, match=f"model.family={name}.*llama .*mistral"):
            family_of(replace(shape, family=name))


def test_a_window_that_is_not_used_is_none() -> None:
    """As Qwen2.5's config.json has it."""
    model = LmModelConfig(qkv_bias=True, head_size=64)
    content = huggingface_config(model, num_ids=8, max_positions=8, dtype="fp32", eos=0, pad=1)
    unused = content | {"sliding_window": 131_072, "use_sliding_window": False}
    assert model_config(unused, vocabulary_multiple=64, subject="config.json") == model
