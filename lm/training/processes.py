"""The process groups of one run: opened from torchrun's environment, closed when the run ends.

gloo on a machine without CUDA (where `lm.training.cpu` stands in for it), NCCL with it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.tensor_parallel import model_parallel_cuda_manual_seed
from torch import Tensor

from .cpu import cuda_stand_ins
from .parallel import ParallelConfig, world_size

TIMEOUT = timedelta(minutes=30)


def backend_name() -> str:
    """``"nccl"`` where CUDA is present, else ``"gloo"``."""
    return "nccl" if torch.cuda.is_available() else "gloo"


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process's place in the layout, and the collectives that the training loop needs itself.

    Attributes:
        device: this process's device.
        rank: number among all processes.
        data_rank: number of the model copy this process belongs to.
        data_size: model copies.
        is_first_stage: whether this process holds the beginning of the model and so reads clips.
        is_last_stage: whether this process holds the end of the model and so sees the loss.
        virtual: model chunks of this process.
        host_group: all processes, for tensors in host memory.
    """

    device: torch.device
    rank: int
    data_rank: int
    data_size: int
    is_first_stage: bool
    is_last_stage: bool
    virtual: int
    host_group: dist.ProcessGroup | None

    def sum_from_last_stage(self, values: Tensor) -> Tensor:
        """The sum of ``values`` over the last stages of all model copies and sequence parts, on every process."""
        if not self.is_last_stage:
            values = torch.zeros_like(values)
        dist.all_reduce(values, group=parallel_state.get_data_parallel_group(with_context_parallel=True))
        pipeline = parallel_state.get_pipeline_model_parallel_group()
        if pipeline.size() > 1:
            dist.broadcast(values, parallel_state.get_pipeline_model_parallel_last_rank(), group=pipeline)
        return values

    def any_of_all(self, flag: bool) -> bool:
        """Whether ``flag`` is true on some process; asked between hosts, so that no device is waited for."""
        value = torch.tensor([float(flag)])
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=self.host_group)
        return bool(value.item())

    def barrier(self) -> None:
        """Wait for all processes."""
        dist.barrier()


@contextlib.contextmanager
def open_processes(parallel: ParallelConfig) -> Iterator[Processes]:
    """Start (or take over) torch.distributed, lay the parallel groups over it, and close both at the end."""
    with cuda_stand_ins():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        is_opened_here = not dist.is_initialized()
        if is_opened_here:
            _start()
        try:
            parallel_state.initialize_model_parallel(
                tensor_model_parallel_size=parallel.tensor,
                pipeline_model_parallel_size=parallel.pipeline,
                virtual_pipeline_model_parallel_size=parallel.virtual if parallel.virtual > 1 else None,
                context_parallel_size=parallel.context,
                create_gloo_process_groups=parallel.distributed_optimizer,  # its checkpoints are gathered over them
            )
            yield Processes(
                device=torch.device("cuda", torch.cuda.current_device())
                if torch.cuda.is_available()
                else torch.device("cpu"),
                rank=dist.get_rank(),
                data_rank=parallel_state.get_data_parallel_rank(),
                data_size=parallel_state.get_data_parallel_world_size(),
                is_first_stage=parallel_state.is_pipeline_first_stage(ignore_virtual=True),
                is_last_stage=parallel_state.is_pipeline_last_stage(ignore_virtual=True),
                virtual=parallel.virtual,
                host_group=dist.new_group(backend="gloo", timeout=TIMEOUT) if torch.cuda.is_available() else None,
            )
        finally:
            parallel_state.destroy_model_parallel()
            if is_opened_here:
                dist.destroy_process_group()


def _start() -> None:
    if world_size() > 1:
        dist.init_process_group(backend_name(), timeout=TIMEOUT)
    else:
        dist.init_process_group(backend_name(), store=dist.HashStore(), rank=0, world_size=1, timeout=TIMEOUT)


def seed_processes(seed: int, step: int) -> None:
    """Set all random states as a function of (seed, step): nothing random has to be kept in a checkpoint."""
    value = (seed * 1_000_003 + step * 7919) % (2**31 - 10_000)
    torch.manual_seed(value)
    model_parallel_cuda_manual_seed(value)
