"""The table of families: each config.json is its own inverse, and what the decoder has not is refused."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest
import torch

from lm.huggingface.families import FAMILIES, family_of
from lm.huggingface.model_configs import LLAMA3_ROPE, huggingface_config, model_config
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
    content = huggingface_config(model, num_ids=32, max_positions=8193, dtype="fp32", eos=0, pad=1)
    found = model_config(content, vocabulary_multiple=model.vocabulary_multiple, subject="config.json")
    assert replace(found, head_size=0) == replace(model, head_size=0) and found.head_width == model.head_width
    assert content["model_type"] == name.split(",")[0]
    said_twice = content | {"rope_scaling": content["rope_parameters"]}
    assert model_config(said_twice, vocabulary_multiple=model.vocabulary_multiple, subject="config.json") == found


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "gpt2"}, "llama .*, qwen2"),
        ({"model_type": "chatglm"}, "chatglm .GLM-4-9B's original format"),  # of a class that is not its own
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type: yarn"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 2.0}}, "low_freq_factor: 2.0"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type: linear"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "rope_scaling .*yarn.* and rope_parameters .*default"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "rope_scaling .*llama3.* and rope_parameters"),
        ({"rms_norm_eps": ...}, "no 'rms_norm_eps'"),
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
    content = {name: value for name, value in content.items() if value is not ...}
    with pytest.raises(UserError, match=words):
        model_config(content, vocabulary_multiple=64, subject="config.json")
    with pytest.raises(UserError, match="no Hugging Face class"):
        family_of(LmModelConfig(qk_norm=True, qkv_bias=True))


SCALINGS: dict[str, dict[str, Any]] = {
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "longrope": {"short_factor": [1.1] * 4, "long_factor": [2.0] * 4, "original_max_position_embeddings": 32},
    "llama3": {"factor": 8.0} | LLAMA3_ROPE,
}


@pytest.mark.parametrize("place", ["rope_parameters", "rope_scaling", "both"])
@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("name", ["llama", "qwen2", "mistral"])
def test_a_scaling_of_rotary_positions_is_carried_or_refused_wherever_it_stands(
    name: str, kind: str, place: str
) -> None:
    """What is taken gives, written again, the logits of the source as transformers reads it, without a warning."""
    shape = LmModelConfig(
        **{"layers": 1, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48, "norm_epsilon": 1e-5} | FAMILY_SHAPES[name]
    )
    source = huggingface_config(shape, num_ids=64, max_positions=65536, dtype="fp32", eos=0, pad=1)
    scaling = {"rope_type": kind} | SCALINGS[kind]
    source["rope_scaling"] = scaling
    if place != "both":
        del source["rope_parameters"], source["rope_scaling"]
        source[place] = scaling | {"rope_theta": shape.rope_base}
    if kind != "llama3" or name != "llama" or place == "both":
        with pytest.raises(UserError, match=rf"rope_(type|scaling).*{kind}"):
            model_config(source, vocabulary_multiple=64, subject="config.json")
        return
    found = model_config(source, vocabulary_multiple=64, subject="config.json")
    ours = huggingface_config(found, num_ids=64, max_positions=65536, dtype="fp32", eos=0, pad=1)
    theirs, plain = random_logits(source), random_logits(source | {"rope_parameters": None, "rope_scaling": None})
    assert torch.equal(random_logits(ours), theirs) and not torch.equal(plain, theirs)


def random_logits(content: dict[str, Any]) -> torch.Tensor:
    """Of a model with random weights, the same for all configs of one shape; a warning is an error."""
    from transformers import AutoConfig, AutoModelForCausalLM

    warned: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**content, initializer_range=0.5)).eval()
        with torch.no_grad():
            logits: torch.Tensor = model(torch.arange(1, 41)[None]).logits
    finally:
        logger.removeHandler(handler)
    assert warned == []
    return logits


@pytest.mark.parametrize("positions", [99, 8192])
def test_a_slowed_rotary_embedding_is_exported_with_more_positions_than_before(positions: int) -> None:
    """Of fewer transformers warns at each start."""
    model = LmModelConfig(rope_scaling=8.0)
    with pytest.raises(UserError, match=rf"max_positions: {positions}.*more than 8192"):
        huggingface_config(model, num_ids=8, max_positions=positions, dtype="fp32", eos=0, pad=1)


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
