"""Micro batches through megatron-core's pipeline schedules: losses out, gradients left in the buffers.

Shapes: B micro batch, S tokens of a sequence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from lm.data.model_inputs import ModelInputs, model_inputs

from .loop_config import LoopConfig
from .losses import NUM_SUMS, Losses, loss_sums
from .model import DTYPES
from .processes import Processes


class ForwardBackward:
    """Runs a step's micro batches.

    Args:
        chunks: the model's chunks on this process.
        loop: batch shape, attention and z-loss.
        processes: for the device and the sum over processes.
        is_packed: whether the layers' attention takes boundaries of documents, see `lm.data.model_inputs`.
        needs_mask: whether it takes a mask.
        precision: of the weights.
    """

    def __init__(
        self,
        chunks: Sequence[torch.nn.Module],
        loop: LoopConfig,
        processes: Processes,
        *,
        is_packed: bool,
        needs_mask: bool,
        precision: str,
    ) -> None:
        self.chunks, self.loop, self.processes = list(chunks), loop, processes
        self.is_packed, self.needs_mask, self.dtype = is_packed, needs_mask, DTYPES[precision]

    def run(self, batches: list[Iterator[dict[str, Tensor]]], num_micro_batches: int, *, is_training: bool) -> Losses:
        """Losses of ``num_micro_batches``, over all processes; one reader for each chunk."""
        size = (self.loop.micro_batch, self.loop.sequence_length)
        if self.is_packed:  # one long sequence of all documents
            size = (1, size[0] * size[1])
        reports = get_forward_backward_func()(
            forward_step_func=self._forward,
            data_iterator=batches if len(batches) > 1 else batches[0],
            model=self.chunks if len(self.chunks) > 1 else self.chunks[0],
            num_microbatches=num_micro_batches,
            micro_batch_size=size[0],
            seq_length=size[1],
            forward_only=not is_training,
        )
        sums = torch.zeros(NUM_SUMS, dtype=torch.float64, device=self.processes.device)
        for report in reports:
            sums += report["sums"]
        return Losses.from_sums(self.processes.sum_from_last_stage(sums))

    def _forward(self, batches: Iterator[dict[str, Tensor]], chunk: torch.nn.Module) -> tuple[Tensor, Any]:
        """megatron-core's forward step: one micro batch through one chunk, and the function that makes its loss."""
        batch = {name: tensor.to(self.processes.device, non_blocking=True) for name, tensor in next(batches).items()}
        inputs = model_inputs(
            batch,
            reset_attention=self.loop.reset_attention,
            is_packed=self.is_packed,
            needs_mask=self.needs_mask,
            dtype=self.dtype,
        )
        output = chunk(
            inputs.tokens,
            inputs.positions,
            inputs.attention_mask,
            labels=inputs.labels,
            packed_seq_params=inputs.packed,
            **({} if inputs.clips is None else {"clips": inputs.clips}),
        )
        return output, partial(_masked_loss, inputs, self.loop.z_loss)


def _masked_loss(inputs: ModelInputs, z_loss: float, output: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Loss sum and label count of a micro batch; megatron-core divides by the labels of the whole step.

    Args:
        inputs: of the micro batch.
        z_loss: coefficient of the squared log normaliser.
        output: losses (B, S), or with z-loss (2, B, S): losses and log normalisers.
    """
    losses, squares = (output[0], output[1].square()) if z_loss else (output, None)
    objective = losses if squares is None else losses + z_loss * squares
    total = (objective * inputs.loss_mask).sum()
    return total, inputs.loss_mask.sum().to(torch.int), {"sums": loss_sums(losses, squares, inputs)}
