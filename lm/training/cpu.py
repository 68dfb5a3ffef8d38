"""Five stand-ins that let megatron-core 0.16.1 run without CUDA; no other module knows about it.

megatron-core asks CUDA for the device, for random states and for synchronisation in places no option reaches, and
Apex for its kernel of gradient accumulation. Inside ``with cuda_stand_ins():`` those calls go to the CPU; where CUDA is
present the context does nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode

CPU = torch.device("cpu")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


@contextlib.contextmanager
def cuda_stand_ins() -> Iterator[None]:
    """Let megatron-core run without CUDA while the context is open."""
    if torch.cuda.is_available():
        yield
        return
    from megatron.core.tensor_parallel import layers
    from megatron.core.tensor_parallel import random as megatron_random

    with contextlib.ExitStack() as stack:
        for holder, name, stand_in in (*_cuda_functions(), (megatron_random, "_set_cuda_rng_state", _set_state)):
            stack.enter_context(mock.patch.object(holder, name, stand_in))
        stack.enter_context(mock.patch.object(layers, "fused_weight_gradient_mlp_cuda", _GradientKernel, create=True))
        stack.enter_context(mock.patch.object(layers, "_grad_accum_fusion_available", True))
        stack.enter_context(_CudaCallsOnCpu())
        # On a CPU the "CUDA" generator is the CPU generator, so the tracker's warning that it changed is always on.
        quiet = logging.getLogger("megatron.core.tensor_parallel.random")
        stack.enter_context(mock.patch.object(quiet, "disabled", True))
        yield


def keep_freed_memory() -> None:
    """Let the C library keep what a training step frees for the next one, where it is glibc.

    By default each large tensor is a mapping of its own, whose pages the kernel has to clear anew: 3 to 5 % of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20)):
            mallopt(option, value)


def _cuda_functions() -> list[tuple[Any, str, Callable[..., Any]]]:
    """Stand-ins 1 to 3: the current device, synchronisation, and the random states."""
    return [
        (torch.cuda, "current_device", lambda: CPU),
        (torch.cuda, "synchronize", lambda *_: None),
        (torch.cuda, "get_rng_state", _get_state),
        (torch.cuda.random, "get_rng_state", _get_state),
        (torch.cuda, "set_rng_state", _set_state),
        (torch.cuda, "manual_seed", torch.default_generator.manual_seed),
    ]


def _get_state(*_: Any, **__: Any) -> torch.Tensor:
    return torch.get_rng_state()


def _set_state(state: torch.Tensor, *_: Any, **__: Any) -> None:
    torch.set_rng_state(state)


class _GradientKernel:
    """Stand-in 5: Apex's kernel, in fp32."""

    @staticmethod
    def wgrad_gemm_accum_fp32(inputs: torch.Tensor, gradients: torch.Tensor, total: torch.Tensor) -> None:
        """Add ``gradients^T inputs`` (rows are tokens) to ``total``."""
        total.addmm_(gradients.t(), inputs)


def _is_cuda(value: object) -> bool:
    if isinstance(value, str):
        return value.startswith("cuda")
    return isinstance(value, torch.device) and value.type == "cuda"


class _CudaCallsOnCpu(TorchFunctionMode):
    """Stand-in 4: calls that name CUDA by a literal act on the CPU, and `Tensor.type` answers as CUDA would."""

    def __torch_function__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        if function is torch.Tensor.cuda:
            return arguments[0]
        if function is torch.Tensor.type and len(arguments) == 1 and not options:
            return function(*arguments).replace("torch.", "torch.cuda.")
        if options.get("pin_memory"):
            options = {**options, "pin_memory": False}
        if _is_cuda(options.get("device")):
            options = {**options, "device": CPU}
        if function is torch.Tensor.to and len(arguments) > 1 and _is_cuda(arguments[1]):
            arguments = (arguments[0], CPU, *arguments[2:])
        return function(*arguments, **options)
