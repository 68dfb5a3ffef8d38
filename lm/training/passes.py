"""Micro batches through megatron-core's pipeline schedules: losses out, gradients left in the buffers.

Shapes: B micro batch, S tokens of a sequence, N targets of a micro batch, W ids of this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from lm.data.model_inputs import ModelInputs, model_inputs, transcript_batch

from .cross_entropy import cross_entropy
from .divergence import divergence
from .loop_config import LoopConfig
from .losses import NUM_SUMS, loss_sums
from .model import DTYPES
from .processes import Processes

MicroBatch = dict[str, Tensor]
LossReport = tuple[Tensor, Tensor, dict[str, Tensor]]
TEACHER = "teacher"  # of a micro batch: logits (N, W) of its targets


class ForwardBackward:
    """Runs a step's micro batches.

    Args:
        chunks: the model's chunks on this process.
        loop: batch shape, attention and z-loss.
        processes: for the device and the sum over processes.
        is_packed: whether the layers' attention takes boundaries of documents, see `lm.data.model_inputs`.
        needs_mask: whether it takes a mask.
        precision: of the weights.
        temperature: of the divergence from the model as it reads the transcripts, which is then the loss; 0: the loss
            is the cross-entropy.
        is_tolerant: whether micro batches say which documents are left out, see `lm.training.clip_tally`.
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
        temperature: float = 0.0,
        is_tolerant: bool = False,
    ) -> None:
        self.chunks, self.loop, self.processes = list(chunks), loop, processes
        self.is_packed, self.needs_mask, self.dtype = is_packed, needs_mask, DTYPES[precision]
        self.temperature, self.is_tolerant = temperature, is_tolerant

    def run(self, batches: list[Iterator[MicroBatch]], num_micro_batches: int, *, is_training: bool) -> Tensor:
        """Sums (6,) of the losses of ``num_micro_batches``, over all processes; one reader for each chunk.

        With a divergence each step first runs its transcripts through the pipeline, without gradients: in memory stay
        the logits of its targets (N, W), in fp32. In validation it takes as few micro batches at once as the pipeline
        has stages. Likewise, where clips may be unreadable, all processes of a model copy first agree on what is left
        out.
        """
        if not self.temperature and not self.is_tolerant:
            return self._sums(self._schedule(self._hear, batches, num_micro_batches, is_training=is_training))
        whole = num_micro_batches if is_training else parallel_state.get_pipeline_model_parallel_world_size()
        sums = torch.zeros(NUM_SUMS, dtype=torch.float64, device=self.processes.device)
        for begin in range(0, num_micro_batches, whole):
            count = min(whole, num_micro_batches - begin)
            some = [list(islice(reader, count)) for reader in batches]
            if self.is_tolerant:
                self._leave_out(some)
            if self.temperature:
                self._run_transcripts(some, count)
            readers = [iter(chunk) for chunk in some]
            sums += self._sums(self._schedule(self._hear, readers, count, is_training=is_training))
        return sums

    def _sums(self, reports: list[dict[str, Tensor]]) -> Tensor:
        sums = torch.zeros(NUM_SUMS, dtype=torch.float64, device=self.processes.device)
        for report in reports:
            sums += report["sums"]
        return self.processes.sum_from_last_stage(sums)

    def _leave_out(self, batches: list[list[MicroBatch]]) -> None:
        """Give all chunks' micro batches the ``left_out`` (B, S) of those that read clips, of all processes at once.

        A later stage reads none, and a clip may be unreadable to one process alone.
        """
        found = [batch.get("left_out", torch.zeros_like(batch["tokens"], dtype=torch.bool)) for batch in batches[0]]
        masks = torch.stack(found).to(self.processes.device, torch.uint8, non_blocking=True)
        for group in (parallel_state.get_model_parallel_group(), parallel_state.get_context_parallel_group()):
            dist.all_reduce(masks, op=dist.ReduceOp.MAX, group=group)
        for chunk in batches:
            for batch, mask_BS in zip(chunk, masks.bool(), strict=True):
                batch["left_out"] = mask_BS

    @torch.no_grad()
    def _run_transcripts(self, batches: list[list[MicroBatch]], num_micro_batches: int) -> None:
        """Add ``teacher`` to the last chunk's micro batches: the logits of their targets."""
        was_training = self.chunks[0].training
        for chunk in self.chunks:
            chunk.eval()  # no dropout
        self._schedule(self._read, [iter(chunk) for chunk in batches], num_micro_batches, is_training=False)
        for chunk in self.chunks:
            chunk.train(was_training)

    def _schedule(
        self, step: Any, batches: list[Iterator[MicroBatch]], num_micro_batches: int, *, is_training: bool
    ) -> list[dict[str, Tensor]]:
        """Micro batches through the pipeline; the reports of the last stage."""
        size = (self.loop.micro_batch, self.loop.sequence_length)
        if self.is_packed:  # one long sequence of all documents
            size = (1, size[0] * size[1])
        reports: list[dict[str, Tensor]] = get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=batches if len(batches) > 1 else batches[0],
            model=self.chunks if len(self.chunks) > 1 else self.chunks[0],
            num_microbatches=num_micro_batches,
            micro_batch_size=size[0],
            seq_length=size[1],
            forward_only=not is_training,
        )
        return reports

    def _hear(self, batches: Iterator[MicroBatch], chunk: torch.nn.Module) -> tuple[Tensor, Any]:
        """megatron-core's forward step: one micro batch through one chunk, and the function that makes its loss."""
        batch = self._on_device(next(batches))
        inputs = self._inputs(batch)
        if self.temperature:
            output = self._run_chunk(chunk, inputs, labels=None)
            return output, partial(_divergence_loss, batch, inputs, self.temperature)
        return self._run_chunk(chunk, inputs, labels=inputs.labels), partial(_masked_loss, inputs, self.loop.z_loss)

    def _read(self, batches: Iterator[MicroBatch], chunk: torch.nn.Module) -> tuple[Tensor, Any]:
        """The forward step of a micro batch's transcripts, whose logits are kept with it."""
        batch = next(batches)
        inputs = self._inputs(transcript_batch(self._on_device(batch)))

        def keep(logits: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
            batch[TEACHER] = logits[inputs.loss_mask > 0]
            return logits.new_zeros(()), torch.zeros((), dtype=torch.int, device=logits.device), {}

        return self._run_chunk(chunk, inputs, labels=None, is_text=True), keep

    def _on_device(self, batch: MicroBatch) -> MicroBatch:
        moved = {name: tensor.to(self.processes.device, non_blocking=True) for name, tensor in batch.items()}
        left_out_BS = moved.pop("left_out", None)
        for name, empty in (("loss_mask", 0), ("clip_places", -1)):
            if left_out_BS is not None and name in moved:
                moved[name] = moved[name].masked_fill(left_out_BS, empty)
        return moved

    def _inputs(self, batch: MicroBatch) -> ModelInputs:
        return model_inputs(
            batch,
            reset_attention=self.loop.reset_attention,
            is_packed=self.is_packed,
            needs_mask=self.needs_mask,
            dtype=self.dtype,
        )

    def _run_chunk(
        self, chunk: torch.nn.Module, inputs: ModelInputs, *, labels: Tensor | None, is_text: bool = False
    ) -> Tensor:
        output: Tensor = chunk(
            inputs.tokens,
            inputs.positions,
            inputs.attention_mask,
            labels=labels,
            packed_seq_params=inputs.packed,
            **({"is_text": True} if is_text else {}),
            **({} if inputs.clips is None else {"clips": inputs.clips}),
        )
        return output


def _masked_loss(inputs: ModelInputs, z_loss: float, output: Tensor) -> LossReport:
    """Loss sum and label count of a micro batch; megatron-core divides by the labels of the whole step.

    Args:
        inputs: of the micro batch.
        z_loss: coefficient of the squared log normaliser.
        output: losses (B, S), or with z-loss (2, B, S): losses and log normalisers.
    """
    losses, squares = (output[0], output[1].square()) if z_loss else (output, None)
    objective = losses if squares is None else losses + z_loss * squares
    total = (objective * inputs.loss_mask).sum()
    return total, inputs.loss_mask.sum().to(torch.int), {"sums": loss_sums(losses, inputs, squares=squares)}


def _divergence_loss(batch: MicroBatch, inputs: ModelInputs, temperature: float, logits_BSW: Tensor) -> LossReport:
    """As `_masked_loss`: the divergence of a micro batch's targets; their cross-entropy is reported, too.

    Args:
        batch: with ``teacher``, the logits of its targets by the model that reads the transcripts.
        inputs: of the micro batch.
        temperature: of both distributions.
        logits_BSW: of the model that hears.
    """
    group = parallel_state.get_tensor_model_parallel_group()
    is_target = inputs.loss_mask > 0
    student_NW = logits_BSW[is_target]
    divergences = divergence(student_NW, batch[TEACHER], temperature, group)
    losses, _ = cross_entropy(student_NW.detach().clone(), inputs.labels[is_target], group)
    all_losses = torch.zeros_like(inputs.loss_mask).masked_scatter(is_target, losses)
    sums = loss_sums(all_losses, inputs, divergences=divergences)
    return divergences.sum(), inputs.loss_mask.sum().to(torch.int), {"sums": sums}
