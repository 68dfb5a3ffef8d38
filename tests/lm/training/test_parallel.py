"""Impossible layouts are refused before any process starts, with the arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import BatchShape, ParallelConfig, check_layout, data_parallel_size
from lm.training.schedule import learning_rate
from runtime.errors import UserError

MODEL = LmModelConfig(layers=8, hidden=64, heads=8, kv_heads=4, ffn=96)


def check(processes: int, *, backend: str = "gloo", batch: tuple[int, int, int] = (2, 8, 64), **sizes: Any) -> None:
    micro, whole, length = batch
    shape = BatchShape(micro_batch=micro, global_batch=whole, sequence_length=length)
    check_layout(ParallelConfig(**sizes), MODEL, shape, processes=processes, backend=backend)


@pytest.mark.parametrize(
    ("processes", "sizes"),
    [
        (1, {}),
        (4, {"tensor": 4, "sequence": True}),
        (4, {"pipeline": 4, "virtual": 2}),
        (8, {"tensor": 2, "pipeline": 2, "context": 2}),
        (4, {"data": 4}),
        (2, {"pipeline": 2, "virtual": 2, "overlap_p2p": True}),
    ],
)
def test_possible_layouts(processes: int, sizes: dict[str, Any]) -> None:
    check(processes, **sizes)


@pytest.mark.parametrize(
    ("processes", "options", "words"),
    [
        (3, {"tensor": 2}, ["= 2 does not divide the 3 processes"]),
        (4, {"tensor": 2, "data": 1}, ["x data 1 = 2, but 4", "parallel.data=2"]),
        (8, {"tensor": 8}, ["model.kv_heads", "4 is not a multiple of parallel.tensor = 8", "0 x 8 + 4"]),
        (3, {"pipeline": 3}, ["model.layers", "8 = 2 x 3 + 2"]),
        (2, {"pipeline": 2, "virtual": 3}, ["model.layers", "= 6"]),
        (1, {"batch": (3, 8, 64)}, ["train.global_batch", "8 = 2 x 3 + 2", "to 6"]),
        (2, {"context": 2, "batch": (2, 8, 62)}, ["train.sequence_length", "62 = 15 x 4 + 2"]),
        (2, {"pipeline": 2, "virtual": 2, "batch": (2, 6, 64)}, ["3 micro batches"]),
        (
            2,
            {"pipeline": 2, "virtual": 2, "overlap_p2p": True, "deallocate_outputs": True},
            ["deallocate_outputs=false"],
        ),
    ],
)
def test_impossible_layouts(processes: int, options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        check(processes, **options)
    for word in words:
        assert word in str(error.value)


def test_nccl_may_overlap_and_deallocate() -> None:
    check(2, backend="nccl", pipeline=2, virtual=2, overlap_p2p=True, deallocate_outputs=True)


@pytest.mark.parametrize(
    "options",
    [
        *({"virtual": 2}, {"sequence": True}, {"overlap_p2p": True}, {"tensor": 0}),
        *({"overlap_param_gather": True}, {"overlap_tensor": True, "tensor": 2}),
        {"overlap_param_gather": True, "distributed_optimizer": True, "overlap_grad_reduce": "never"},
    ],
)
def test_options_that_would_have_no_effect_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        ParallelConfig(**options)


def test_data_parallel_takes_what_is_left() -> None:
    assert data_parallel_size(ParallelConfig(tensor=2), 8) == 4


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_learning_rate(schedule: str) -> None:
    config = LoopConfig(steps=21, warmup_steps=10, learning_rate=1.0, final_learning_rate=0.1, schedule=schedule)
    rates = [learning_rate(step, config) for step in range(21)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10] == pytest.approx(1.0) and rates[15] == pytest.approx(0.55) and rates[20] == pytest.approx(0.1)
    assert sorted(rates[10:], reverse=True) == rates[10:]


@pytest.mark.parametrize(("shape", "middle"), [("linear", 0.505), ("cosine", 0.505), ("sqrt", 1 - 0.99 * 0.5**0.5)])
def test_wsd_stays_and_then_falls(shape: str, middle: float) -> None:
    options = {"steps": 50, "warmup_steps": 10, "learning_rate": 1.0, "final_learning_rate": 0.01}
    config = LoopConfig(**options, schedule="wsd", decay_steps=20, decay_shape=shape)
    rates = [learning_rate(step, config) for step in range(50)]
    assert rates[9:30] == [1.0] * 21
    assert rates[39] == pytest.approx(middle) and rates[49] == pytest.approx(0.01)
    assert sorted(rates[29:], reverse=True) == rates[29:] and len(set(rates[29:])) == 21


def test_wsd_takes_a_tenth_and_no_more_than_there_is() -> None:
    assert LoopConfig(steps=500, schedule="wsd").num_decay_steps == 50
    with pytest.raises(UserError, match=r"train.decay_steps: found 60. give at most .* = 100 - 50"):
        LoopConfig(steps=100, warmup_steps=50, schedule="wsd", decay_steps=60)


def test_fp8_reaches_megatron_core() -> None:
    from lm.training.model import transformer_config

    config = transformer_config(MODEL, ParallelConfig(), precision="bf16", fp8="hybrid", fp8_recipe="tensorwise")
    assert (config.fp8, config.fp8_recipe) == ("hybrid", "tensorwise")
    with pytest.raises(UserError, match=r"train\.fp8"):
        LoopConfig(fp8="hybrid", layers="local")
