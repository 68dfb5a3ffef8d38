"""AdamW under megatron-core: its master weights; our rates, weight decay, clipping and skipping of bad steps.

megatron-core marks the groups of parameters without weight decay (biases and all of one dimension, norms among them) by
``wd_mult`` = 0 and leaves it to its scheduler to honour the mark; here `update` does.

On every machine it is torch's fused AdamW, also where Transformer Engine's or Apex's is installed: its kernel divides
the gradients and leaves a bad step out by numbers on the device, which the host does not wait for, and a state that a
CPU has saved has the layout that a GPU reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast
from unittest import mock

import megatron.core.optimizer as megatron_optimizer
import torch
import torch.distributed as dist
from megatron.core.dist_checkpointing.mapping import ShardedTensor
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import (
    ChainedOptimizer,
    MegatronOptimizer,
    OptimizerConfig,
    ParamKey,
    distrib_optimizer,
    get_megatron_optimizer,
    get_standard_config_overrides,
)
from torch import Tensor

from .loop_config import LoopConfig
from .model import DTYPES
from .optimizer_rows import sharded_rows
from .parallel import ParallelConfig
from .speech_input import CONNECTOR_PREFIX, ENCODER_PREFIX


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """Outcome of one update, on the device: the gradient norm before clipping, and whether the weights were changed."""

    gradient_norm: Tensor
    is_taken: Tensor


# megatron-core's shardings of a distributed optimizer's state: the first has whole rows of each parameter (written by
# `sharded_rows`), the second is the memory of each process. The default one fails in 0.16.1 (flattened_range is not
# supported).
RESHARDABLE, BY_COPY = "fully_reshardable", "dp_reshardable"
MEGATRON_GATHER = "sharded_param_state_fully_reshardable"

# Parts with a learning rate of their own, by the value of ``lr_mult`` of their parameter groups. megatron-core tells a
# checkpoint's groups apart by it; as a mark and not a factor, it leaves rates free to change when a run goes on.
RATE_MARKS = {"lm": 1.0, "connector": 2.0, "encoder": 3.0}

CLIP_EPSILON = 1e-6  # added to the norm that gradients are divided by, as megatron-core does


def build_optimizer(
    chunks: list[DistributedDataParallel],
    config: LoopConfig,
    parallel: ParallelConfig,
    precision: str,
    *,
    has_speech: bool = False,
) -> MegatronOptimizer:
    """AdamW with fp32 master weights; weight decay on matrices only. ``has_speech``: parts have groups of their own."""
    options = OptimizerConfig(
        optimizer="adam",
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        adam_beta1=config.beta1,
        adam_beta2=config.beta2,
        clip_grad=config.clip_norm,
        bf16=precision == "bf16",
        params_dtype=DTYPES[precision],
        use_distributed_optimizer=parallel.distributed_optimizer,
        overlap_param_gather=parallel.overlap_param_gather,
    )
    overrides = None
    if has_speech:
        overrides = get_standard_config_overrides(options)
        for part, prefix in (("connector", CONNECTOR_PREFIX), ("encoder", ENCODER_PREFIX)):
            overrides[ParamKey(name=f"*{prefix}*")] = cast(Any, {"lr_mult": RATE_MARKS[part]})
    with _torch_adam():
        optimizer = get_megatron_optimizer(
            options, chunks, overrides, use_gloo_process_groups=parallel.distributed_optimizer
        )
    for inner in inner_optimizers(optimizer):
        for group in inner.param_groups:
            group["fused"] = True
    return optimizer


@contextmanager
def _torch_adam() -> Iterator[None]:
    """While open, megatron-core takes torch's AdamW, and knows its state, also where another one imports."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(megatron_optimizer, "USING_PYTORCH_OPTIMIZER", True))
        stack.enter_context(mock.patch.object(distrib_optimizer, "HAVE_APEX_OR_TE", False))
        yield


def update(
    optimizer: MegatronOptimizer,
    rate: float,
    config: LoopConfig,
    is_finite: Tensor,
    shares: Mapping[float, float] | None = None,
) -> UpdateResult:
    """Clip the reduced gradients and change the weights, unless the loss or a gradient is not finite.

    Args:
        optimizer: of all parameters.
        rate: the learning rate.
        config: ``clip_norm`` of the gradient and ``weight_decay`` of matrices are read.
        is_finite: (), whether the loss is.
        shares: of ``RATE_MARKS`` -> factor of the rate (default: 1).
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * (shares or {}).get(group["lr_mult"], 1.0)
        group["weight_decay"] = config.weight_decay * group["wd_mult"]
    assert not optimizer.prepare_grads(), "there is no loss scale that could overflow"
    norm = gradient_norm(optimizer)
    is_taken = is_finite & norm.isfinite()
    for inner in inner_optimizers(optimizer):  # what AdamW's fused kernel reads
        inner.grad_scale = ((norm + CLIP_EPSILON) / config.clip_norm).clamp(min=1) if config.clip_norm > 0 else None
        inner.found_inf = (~is_taken).float()
    optimizer.step_with_ready_grads()
    return UpdateResult(gradient_norm=norm, is_taken=is_taken)


@torch.no_grad()
def gradient_norm(optimizer: MegatronOptimizer) -> Tensor:
    """The norm () of all gradients, over all processes, on the device; megatron-core's own reads it."""
    squares = []
    for part in _parts(optimizer):
        gradients = part.get_main_grads_for_grad_norm()
        square = torch.zeros((), dtype=torch.float32, device=torch.cuda.current_device())
        if gradients:
            square += torch.stack(torch._foreach_norm(gradients)).square().sum()
        dist.all_reduce(square, group=part.get_grad_stats_parallel_group())
        squares.append(square)
    return torch.stack(squares).sum().sqrt()


def inner_optimizers(optimizer: MegatronOptimizer) -> Iterator[Any]:
    """The torch optimizers inside megatron-core's wrappers."""
    return (part.optimizer for part in _parts(optimizer) if part.optimizer is not None)


def decays_vectors(optimizer: MegatronOptimizer) -> bool:
    """Whether its state is of a training whose last step took weight decay off norms and biases, too (till 0.1.0)."""
    return any(group["weight_decay"] > 0 and not group["wd_mult"] for group in optimizer.param_groups)


def allocate_states(optimizer: MegatronOptimizer) -> None:
    """Give AdamW the states it otherwise makes at its first step: loading into nothing fails."""
    for inner in inner_optimizers(optimizer):
        for parameter in (parameter for group in inner.param_groups for parameter in group["params"]):
            if not inner.state[parameter]:
                step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                inner.state[parameter] = {"step": step, **moments}


def is_divided_in_whole_buckets(optimizer: MegatronOptimizer) -> bool:
    """Whether each data parallel process holds some of each bucket of a distributed optimizer, and not padding alone.

    megatron-core writes a state in the parts of its processes only then; small trained parts on many processes are not.
    """
    for part in _parts(optimizer):
        for buffer in getattr(part, "buffers", []):
            for bucket in buffer.buckets:
                size = bucket.grad_data.numel()
                if bucket.numel_unpadded <= size - size // part.data_parallel_group.size():
                    return False
    return True


def optimizer_state(
    optimizer: MegatronOptimizer, model_state: dict[str, Any], sharding: str, *, is_loading: bool = False
) -> dict[str, Any]:
    """The sharded state of the optimizer, of a distributed one by ``sharding``; equal states make equal files.

    megatron-core leaves the padding between the parameters of a bucket to chance.
    """
    metadata = {"distrib_optim_sharding_type": sharding}
    by_rows = mock.patch.object(distrib_optimizer.DistributedOptimizer, MEGATRON_GATHER, sharded_rows)
    with _torch_adam(), ExitStack() if is_loading else by_rows:
        state: dict[str, Any] = optimizer.sharded_state_dict(model_state, is_loading=is_loading, metadata=metadata)
    if state.get("param_state_sharding_type") == BY_COPY:
        buffers = (by_type for number, by_type in state["param_state"].items() if isinstance(number, int))
        for tensors in (one for by_type in buffers for buckets in by_type.values() for one in chain(*buckets)):
            if tensors["padding"].unwrap():
                for value in tensors.values():
                    if isinstance(value, ShardedTensor):
                        value.data.zero_()
    return state


def load_optimizer(optimizer: MegatronOptimizer, state: dict[str, Any]) -> None:
    """Load a state made by ``optimizer.sharded_state_dict``.

    megatron-core 0.16.1's distributed optimizer knows step counters only of Transformer Engine's and Apex's Adam: with
    torch's it fails on the counters, and gives one counter tensor to all parameters, so that each step would then count
    once for each parameter and training drift, silently.
    """
    parameter_state, sharding = state.pop("param_state", None), state.pop("param_state_sharding_type", None)
    with _torch_adam():
        optimizer.load_state_dict(state)
    for inner in inner_optimizers(optimizer):
        for values in inner.state.values():  # one counter tensor each, see above
            if isinstance(values.get("step"), torch.Tensor):
                values["step"] = values["step"].clone()
    if parameter_state is not None:
        (part,) = _parts(optimizer)
        with torch.no_grad(), _without_steps(part.optimizer):
            getattr(part, f"load_parameter_state_from_{sharding}")(parameter_state)


@contextmanager
def _without_steps(inner: torch.optim.Optimizer) -> Iterator[None]:
    steps = {parameter: values.pop("step") for parameter, values in inner.state.items() if "step" in values}
    try:
        yield
    finally:
        for parameter, step in steps.items():
            inner.state[parameter]["step"] = step


def _parts(optimizer: MegatronOptimizer) -> list[Any]:
    return list(optimizer.chained_optimizers) if isinstance(optimizer, ChainedOptimizer) else [optimizer]
