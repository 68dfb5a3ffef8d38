"""What the hardware cannot do is refused before any process starts, with the arithmetic and what would fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lm.training.hardware import Hardware, check_hardware, fuses_gradients
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from runtime.errors import UserError

MEMORY = int(79.1 * 2**30)
AMPERE = Hardware(gpus=8, name="A100", capability=(8, 0), bytes=MEMORY, has_engine=True, local_processes=8)
HOPPER = Hardware(gpus=8, name="H100", capability=(9, 0), bytes=MEMORY, has_engine=True, local_processes=8)
BLACKWELL = Hardware(gpus=8, name="B200", capability=(10, 0), bytes=MEMORY, has_engine=True, local_processes=8)
CONSUMER = Hardware(gpus=1, name="RTX 5090", capability=(12, 0), bytes=MEMORY, has_engine=True)
TURING = Hardware(gpus=1, name="T4", capability=(7, 5), bytes=MEMORY)
SMALL = {"layers": 8, "hidden": 64, "heads": 4, "kv_heads": 2, "ffn": 96}
GLM = {"layers": 40, "hidden": 4096, "heads": 32, "kv_heads": 2, "head_size": 128, "ffn": 13696, "qkv_bias": True}


def check(
    hardware: Hardware, model: dict[str, Any] = SMALL, parallel: dict[str, Any] | None = None, **loop: Any
) -> None:
    options = LoopConfig(**{"sequence_length": 64, "micro_batch": 1, **loop})
    layout = ParallelConfig(**parallel or {})
    check_hardware(options, LmModelConfig(**model), layout, hardware, processes=8, vocabulary_size=168_960)


@pytest.mark.parametrize(
    ("hardware", "loop"),
    [
        (Hardware(), {}),
        (AMPERE, {"precision": "bf16"}),
        (HOPPER, {"fp8": "hybrid", "fp8_recipe": "blockwise"}),
        (BLACKWELL, {"fp8": "e4m3", "fp8_recipe": "mxfp8"}),
        (CONSUMER, {"fp8": "hybrid", "fp8_recipe": "tensorwise"}),
        (TURING, {"precision": "auto"}),
        (Hardware(), {"precision": "fp32", "gradient_fusion": "always"}),
        (replace(AMPERE, has_gradient_kernel=True), {"precision": "bf16", "gradient_fusion": "always"}),
    ],
)
def test_possible_options(hardware: Hardware, loop: dict[str, Any]) -> None:
    check(hardware, **loop)


@pytest.mark.parametrize(
    ("hardware", "loop", "words"),
    [
        (Hardware(), {"layers": "transformer_engine"}, "option train.layers: 'transformer_engine', but no CUDA device"),
        (
            Hardware(),
            {"fp8": "hybrid"},
            "option train.fp8: 'hybrid', which needs Transformer Engine, but no CUDA device",
        ),
        (TURING, {"fp8": "hybrid"}, "transformer_engine does not import"),
        (TURING, {"precision": "bf16"}, "option train.precision: bf16 on T4 .*7.5.* no bf16 .* set it to fp32"),
        (AMPERE, {"fp8": "hybrid"}, "option train.fp8: 'hybrid' on A100 .*8.0.* no FP8 arithmetic"),
        (HOPPER, {"fp8": "e4m3", "fp8_recipe": "mxfp8"}, "'mxfp8', which needs .* 10.0 to below 12.0, on H100 .*9.0"),
        (HOPPER, {"fp8": "e4m3", "fp8_recipe": "mxfp8"}, "this device runs delayed, tensorwise, blockwise"),
        (
            AMPERE,
            {"gradient_fusion": "always"},
            "'always', but fused_weight_gradient_mlp_cuda does not import",
        ),
        (Hardware(), {"gradient_fusion": "always", "precision": "bf16"}, "on a CPU, which has no product of bf16 into"),
        (CONSUMER, {"fp8": "e4m3", "fp8_recipe": "mxfp8"}, "on RTX 5090 .*12.0.* this device runs delayed, tensorwise"),
    ],
)
def test_impossible_options(hardware: Hardware, loop: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        check(hardware, **loop)


@pytest.mark.parametrize(
    ("model", "parallel", "loop", "words"),
    [
        ({"ffn": 96}, {"tensor": 4}, {}, r"model.ffn: 96 / parallel.tensor = 4 = 24 = 1 x 16 \+ 8.* multiple of 64"),
        ({"hidden": 72}, {}, {}, r"model.hidden: 72 / 1 = 72 = 4 x 16 \+ 8, .* multiples of 16"),
        ({}, {"tensor": 2, "sequence": True}, {"sequence_length": 48}, r"48 / the 2 .* = 24 = 1 x 16 \+ 8"),
    ],
)
def test_fp8_takes_multiples(model: dict[str, Any], parallel: dict[str, Any], loop: dict[str, Any], words: str) -> None:
    shape = SMALL | {"heads": 4, "kv_heads": 4, "head_size": 64} | model
    with pytest.raises(UserError, match=words):
        check(HOPPER, shape, parallel, fp8="hybrid", **loop)


def test_tensor_communication_overlaps_in_transformer_engine_only() -> None:
    with pytest.raises(UserError, match=r"parallel.overlap_tensor: true, which Transformer Engine does, but no CUDA"):
        check(Hardware(), {}, {"tensor": 2, "sequence": True, "overlap_tensor": True})


@pytest.mark.parametrize(
    ("hardware", "precision", "is_fused"),
    [
        (Hardware(), "fp32", True),
        (Hardware(), "bf16", False),
        (HOPPER, "bf16", False),
        (replace(HOPPER, has_gradient_kernel=True), "bf16", True),
    ],
)
def test_gradients_are_fused_where_a_kernel_is(hardware: Hardware, precision: str, is_fused: bool) -> None:
    assert fuses_gradients(LoopConfig(), hardware, precision) == is_fused
    assert not fuses_gradients(LoopConfig(gradient_fusion="never"), hardware, precision)


def test_more_processes_than_devices() -> None:
    with pytest.raises(UserError, match=r"8 processes on a machine of 4 GPUs: each takes one. start 4 a machine"):
        check(Hardware(gpus=4, name="H100", capability=(9, 0), bytes=MEMORY, local_processes=8))


@pytest.mark.parametrize(
    ("parallel", "words"),
    [
        ({}, r"9.54 B parameters / \(tensor 1 x pipeline 1\) x 18.0 bytes .* = 160 GiB a process, on H100 .*79.1 GiB"),
        ({}, "distributed_optimizer=true makes it 67 GiB"),
        ({"tensor": 2, "pipeline": 4}, ""),
    ],
)
def test_weights_and_optimizer_must_fit(parallel: dict[str, Any], words: str) -> None:
    if not words:
        check(HOPPER, GLM, parallel, precision="bf16")
        return
    with pytest.raises(UserError, match=words):
        check(HOPPER, GLM, parallel, precision="bf16")


def test_the_least_layout_is_named() -> None:
    with pytest.raises(UserError, match=r"tensor x pipeline of 4 at least, with parallel.distributed_optimizer=true"):
        check(HOPPER, GLM | {"layers": 120}, precision="bf16")
