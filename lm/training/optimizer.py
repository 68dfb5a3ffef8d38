"""AdamW under megatron-core: its master weights and clipping, our learning rate and the skipping of bad steps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import ChainedOptimizer, MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32

from .loop_config import LoopConfig
from .model import DTYPES
from .parallel import ParallelConfig


@dataclass(frozen=True, kw_only=True)
class UpdateResult:
    """Outcome of one update: the gradient norm before clipping, and whether the weights were changed."""

    gradient_norm: float
    is_taken: bool


def build_optimizer(
    chunks: list[DistributedDataParallel], config: LoopConfig, parallel: ParallelConfig, precision: str
) -> MegatronOptimizer:
    """AdamW with fp32 master weights; weight decay on matrices only."""
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
    )
    optimizer = get_megatron_optimizer(options, chunks, use_gloo_process_groups=parallel.distributed_optimizer)
    for inner in inner_optimizers(optimizer):
        if isinstance(inner, torch.optim.AdamW):  # neither Transformer Engine's nor Apex's fused one
            for group in inner.param_groups:
                group["fused"] = True
    return optimizer


def update(optimizer: MegatronOptimizer, rate: float, clip_norm: float) -> UpdateResult:
    """Clip the reduced gradients and change the weights, unless a gradient is not finite."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    if optimizer.prepare_grads():
        return UpdateResult(gradient_norm=math.nan, is_taken=False)
    norm = float(optimizer.get_grad_norm())
    if not math.isfinite(norm):
        return UpdateResult(gradient_norm=norm, is_taken=False)
    if clip_norm > 0:
        for part in _parts(optimizer):
            if part.get_parameters():
                clip_grad_by_total_norm_fp32(part.get_parameters(), max_norm=clip_norm, total_norm=norm)
    return UpdateResult(gradient_norm=norm, is_taken=bool(optimizer.step_with_ready_grads()))


def inner_optimizers(optimizer: MegatronOptimizer) -> Iterator[torch.optim.Optimizer]:
    """The torch optimizers inside megatron-core's wrappers."""
    return (part.optimizer for part in _parts(optimizer) if part.optimizer is not None)


def allocate_states(optimizer: MegatronOptimizer) -> None:
    """Give torch's AdamW the states it otherwise makes at its first step: loading into nothing fails."""
    for inner in inner_optimizers(optimizer):
        if isinstance(inner, torch.optim.AdamW):
            for parameter in (parameter for group in inner.param_groups for parameter in group["params"]):
                if not inner.state[parameter]:
                    step = torch.zeros((), dtype=torch.float32, device=parameter.device)
                    moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                    inner.state[parameter] = {"step": step, **moments}


def load_optimizer(optimizer: MegatronOptimizer, state: dict[str, Any]) -> None:
    """Load a state made by ``optimizer.sharded_state_dict``.

    megatron-core 0.16.1's distributed optimizer knows step counters only of Transformer Engine's and Apex's Adam: with
    torch's it fails on the counters, and gives one counter tensor to all parameters, so that each step would then count
    once for each parameter and training drift, silently.
    """
    parameter_state = state.pop("param_state", None)
    optimizer.load_state_dict(state)
    for inner in inner_optimizers(optimizer):
        for values in inner.state.values():  # one counter tensor each, see above
            if isinstance(values.get("step"), torch.Tensor):
                values["step"] = values["step"].clone()
    if parameter_state is not None:
        (part,) = _parts(optimizer)
        with _without_steps(part.optimizer):
            part.load_parameter_state_from_fully_reshardable(parameter_state)


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
