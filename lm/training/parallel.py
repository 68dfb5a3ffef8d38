"""The parallel layout: tensor, sequence, pipeline, virtual pipeline, context and data parallel.

Everything here is arithmetic on the config, done before any process group starts, so that an impossible layout is one
clear error instead of a hang. `lm.training.processes` then builds the groups.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import UserError, check_option

from .model_config import LmModelConfig


@dataclass(kw_only=True)
class ParallelConfig(Options):
    """Sizes of the parallel dimensions; tensor x pipeline x context x data = number of processes.

    Attributes:
        tensor: processes that share each matrix (heads, key-value heads, ffn and vocabulary are divided).
        sequence: also divide the activations between the tensor parallel processes along the sequence.
        pipeline: processes that share the stack of layers.
        virtual: model chunks a pipeline process holds (1: plain 1F1B schedule, more: interleaved).
        context: processes that share each sequence.
        data: copies of the model; 0 takes all processes that are left.
        distributed_optimizer: divide optimizer states between the data parallel processes.
        overlap_p2p: overlap pipeline communication with computation (needs virtual > 1).
        deallocate_outputs: free a stage's output once it is sent (saves memory).
        overlap_grad_reduce: reduce the gradients of a bucket while those of others are computed: ``auto`` (on a GPU),
            ``always`` or ``never``.
        overlap_param_gather: gather the weights of a bucket in the forward pass that needs them, while others are
            computed with, instead of all after the update (needs the distributed optimizer and overlapped gradients).
        overlap_tensor: overlap tensor parallel communication with matrix products (Transformer Engine's user buffers;
            needs sequence parallel).
        bucket_size: parameters of a bucket; 0: megatron-core's (40 million, or a million a model copy).
    """

    tensor: int = option(1, at_least=1)
    sequence: bool = False
    pipeline: int = option(1, at_least=1)
    virtual: int = option(1, at_least=1)
    context: int = option(1, at_least=1)
    data: int = option(0, at_least=0)
    distributed_optimizer: bool = False
    overlap_p2p: bool = False
    deallocate_outputs: bool = False
    overlap_grad_reduce: str = option("auto", one_of=("auto", "always", "never"), is_later=True)
    overlap_param_gather: bool = option(False, is_later=True)
    overlap_tensor: bool = option(False, is_later=True)
    bucket_size: int = option(0, at_least=0, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        only_pipeline = "virtual stages divide a pipeline process: set parallel.pipeline to 2 or more, or virtual to 1"
        check_option(self.virtual == 1 or self.pipeline > 1, "parallel.virtual", self.virtual, only_pipeline)
        only_tensor = "sequence parallel divides between tensor parallel processes: set parallel.tensor above 1"
        check_option(not self.sequence or self.tensor > 1, "parallel.sequence", self.sequence, only_tensor)
        only_virtual = "overlap needs the interleaved schedule: set parallel.virtual above 1"
        check_option(not self.overlap_p2p or self.virtual > 1, "parallel.overlap_p2p", self.overlap_p2p, only_virtual)
        gathers = self.distributed_optimizer and self.overlap_grad_reduce != "never"
        only_divided = "set parallel.distributed_optimizer=true and parallel.overlap_grad_reduce=always (GPU: auto)"
        check_option(
            not self.overlap_param_gather or gathers,
            "parallel.overlap_param_gather",
            self.overlap_param_gather,
            f"weights are gathered in buckets whose gradients are reduced in turn: {only_divided}",
        )
        only_sequence = "it overlaps sequence parallel communication: set parallel.sequence=true, and parallel.tensor"
        check_option(
            not self.overlap_tensor or self.sequence, "parallel.overlap_tensor", self.overlap_tensor, only_sequence
        )

    def overlaps_gradients(self, *, on_gpu: bool) -> bool:
        """Whether gradients are reduced bucket by bucket."""
        return {"auto": on_gpu, "always": True, "never": False}[self.overlap_grad_reduce]

    @property
    def model_size(self) -> int:
        """Processes that hold one copy of the model."""
        return self.tensor * self.pipeline * self.context


@dataclass(frozen=True, kw_only=True)
class BatchShape:
    """The batch sizes that a layout must divide."""

    micro_batch: int
    global_batch: int
    sequence_length: int


def world_size() -> int:
    """The number of processes torchrun started (1 without it)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first_stage(parallel: ParallelConfig) -> bool:
    """Whether this process, of those that torchrun started, will hold the first pipeline stage.

    megatron-core gives a stage processes of consecutive ranks.
    """
    return int(os.environ.get("RANK", "0")) < world_size() // parallel.pipeline


def data_parallel_size(parallel: ParallelConfig, processes: int) -> int:
    """Copies of the model that ``processes`` make.

    Raises:
        UserError: tensor x pipeline x context (x data) does not make up the number of processes.
    """
    sizes = f"tensor {parallel.tensor} x pipeline {parallel.pipeline} x context {parallel.context}"
    launch = "python -m torch.distributed.run --nproc-per-node N -m lm.train"
    if processes % parallel.model_size:
        found = f"{sizes} = {parallel.model_size} does not divide the {processes} processes that run"
        raise UserError("options parallel.*", found=found, remedy=f"start a multiple of it: {launch}")
    data = processes // parallel.model_size
    if parallel.data not in (0, data):
        found = f"{sizes} x data {parallel.data} = {parallel.model_size * parallel.data}, but {processes} processes run"
        raise UserError("options parallel.*", found=found, remedy=f"set parallel.data={data}, or start more: {launch}")
    return data


def check_layout(
    parallel: ParallelConfig, model: LmModelConfig, batch: BatchShape, *, processes: int, backend: str
) -> None:
    """Refuse a layout that cannot work, with the arithmetic.

    Args:
        parallel: the layout.
        model: the shape to divide.
        batch: the batches to divide.
        processes: how many processes run.
        backend: ``"gloo"`` or ``"nccl"``.

    Raises:
        UserError: the first rule that is broken.
    """
    data = data_parallel_size(parallel, processes)
    stages = parallel.pipeline * parallel.virtual
    rules = [
        ("model.heads", model.heads, parallel.tensor, "parallel.tensor"),
        ("model.kv_heads", model.kv_heads, parallel.tensor, "parallel.tensor"),
        ("model.ffn", model.ffn, parallel.tensor, "parallel.tensor"),
        ("model.vocabulary_multiple", model.vocabulary_multiple, parallel.tensor, "parallel.tensor"),
        ("model.layers", model.layers, stages, "parallel.pipeline x parallel.virtual"),
        ("train.global_batch", batch.global_batch, batch.micro_batch * data, "train.micro_batch x data parallel size"),
    ]
    pieces = (2 * parallel.context if parallel.context > 1 else 1) * (parallel.tensor if parallel.sequence else 1)
    named = "2 x parallel.context x (parallel.tensor if parallel.sequence)"
    rules.append(("train.sequence_length", batch.sequence_length, pieces, named))
    for name, value, divisor, divisor_name in rules:
        if value % divisor:
            found = f"{value} is not a multiple of {divisor_name} = {divisor} ({value} = {value // divisor} x {divisor}"
            raise UserError(
                f"option {name}",
                found=f"{found} + {value % divisor})",
                remedy=f"set {name} to {max(1, value // divisor) * divisor}, or change the divisor",
            )
    micro_batches = batch.global_batch // (batch.micro_batch * data)
    if parallel.virtual > 1 and micro_batches % parallel.pipeline:
        found = f"{micro_batches} micro batches a step are not a multiple of parallel.pipeline = {parallel.pipeline}"
        raise UserError("option train.global_batch", found=found, remedy="the interleaved schedule needs it: raise it")
    if backend == "gloo" and parallel.overlap_p2p and parallel.deallocate_outputs:
        # megatron-core 0.16.1 frees outputs that gloo is still sending: it trains wrongly without an error.
        found = "both true on the gloo backend: outputs are freed while they are being sent, and training goes wrong"
        remedy = "set parallel.deallocate_outputs=false"
        raise UserError("options parallel.overlap_p2p and parallel.deallocate_outputs", found=found, remedy=remedy)
