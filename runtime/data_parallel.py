"""Data-parallel training: the device and process group of a rank, and one global batch over all ranks.

A loss that is written with `own_rows`, `draw_rows` and `gather` has the value and the gradient that one process has
with the whole batch, on any number of ranks::

    batch = batch.rows(own_rows(len(batch)))                        # of the batch that every rank draws alike
    noise = draw_rows(lambda rows: torch.randn(rows, F, M), B)      # random numbers by place in the global batch
    loss = gather(error.sum()).sum() / gather(weight.sum()).sum()   # over the rows of all ranks

Every rank must then draw the same random numbers, so all are given the same seed. Without a process group (one process
without ``torchrun``) each of these functions gives back what it was given.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed
from torch import Tensor, nn

from .errors import check_option


def open_device(wanted: str = "auto") -> torch.device:
    """The device of this rank; under ``torchrun`` the process group is opened (NCCL on CUDA, gloo on the CPU).

    Args:
        wanted: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is one.
    """
    is_cuda = wanted == "cuda" or (wanted == "auto" and torch.cuda.is_available())
    if is_cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if is_cuda else "gloo")
    return torch.device("cuda", torch.cuda.current_device()) if is_cuda else torch.device("cpu")


def close_ranks() -> None:
    """Close the process group, if there is one: what follows (scoring, saving) is the main rank's alone."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def rank() -> int:
    """The number of this process in its group; 0 without one."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def num_ranks() -> int:
    """Processes in the group; 1 without one."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def check_batch(batch: int) -> None:
    """Raise a `UserError` unless the global batch can be shared out evenly."""
    is_even = batch % num_ranks() == 0
    check_option(is_even, "batch", batch, f"give a multiple of the {num_ranks()} processes that share it")


def own_rows(batch: int) -> slice:
    """The rows of a global batch of ``batch`` that fall to this rank."""
    share = batch // num_ranks()
    return slice(rank() * share, (rank() + 1) * share)


def draw_rows(draw: Callable[[int], Tensor], rows: int) -> Tensor:
    """This rank's ``rows`` rows of random numbers that all ranks draw for the whole global batch."""
    return draw(rows * num_ranks())[own_rows(rows * num_ranks())]


def gather(value: Tensor) -> Tensor:
    """``value`` (...) of each rank, stacked (ranks, ...); differentiable with respect to this rank's.

    Each rank is to compute the same loss from the result. The gradient is scaled by the number of ranks, as
    DistributedDataParallel takes the mean over them.
    """
    if num_ranks() == 1:
        return value[None]
    gathered: Tensor = _Gather.apply(value)
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, value: Tensor) -> Tensor:
        parts = [torch.empty_like(value) for _ in range(num_ranks())]
        torch.distributed.all_gather(parts, value.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        return gradients[0][rank()] * num_ranks()


class BatchDropout(nn.Dropout):
    """Dropout of an input (B, ...) with the mask that one process with the whole global batch would draw."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop, (B, ...) -> (B, ...)."""
        if num_ranks() == 1 or not self.training or self.p == 0:
            return super().forward(input)
        return input * draw_rows(
            lambda rows: nn.functional.dropout(input.new_ones(rows, *input.shape[1:]), self.p), len(input)
        )
