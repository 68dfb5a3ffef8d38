"""Log-probabilities of tokens by a Megatron checkpoint under a parallel layout: tensor, pipeline and data parallel.

    with open_megatron_likelihood("runs/lm", "runs/vocabulary/vocabulary", ParallelConfig(tensor=2)) as model:
        (row,) = model.log_probabilities([ids])

All processes call with the same rows and get the same numbers. Data parallel copies share the batches.

Shapes: R rows, T tokens, W = V / tensor parallel size.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from lm.data.vocabulary import Ids, Vocabulary
from lm.huggingface.checkpoint_export import default_positions
from lm.training.checkpoint import CheckpointRecord, check_shape, find_checkpoint, load_weights
from lm.training.cross_entropy import cross_entropy
from lm.training.model import build_model, transformer_config
from lm.training.parallel import BatchShape, ParallelConfig, check_layout, world_size
from lm.training.processes import Processes, backend_name, open_processes
from runtime.errors import UserError

from .likelihood import LogProbabilities, TargetIds, TargetModality, length_buckets, padded_rows

BATCH_TOKENS = 4096  # of one forward pass, padding included
PADDING = 8  # rows are padded to a multiple of this
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}


@contextlib.contextmanager
def open_megatron_likelihood(
    checkpoint: Path | str, vocabulary: Path | str, parallel: ParallelConfig, *, dtype: str = "float32"
) -> Iterator[MegatronLikelihood]:
    """The newest checkpoint of a run, saved under any layout, loaded under ``parallel`` while the context is open.

    Args:
        checkpoint: output folder of lm.train, or a checkpoint folder.
        vocabulary: its vocabulary folder.
        parallel: the layout; torchrun starts its processes.
        dtype: ``float32`` or ``bfloat16``, of the weights.

    Raises:
        UserError: no checkpoint, another vocabulary than its, or a layout that does not divide it.
    """
    own = Vocabulary.from_pretrained(vocabulary)
    path = find_checkpoint(checkpoint)
    record = CheckpointRecord.read(path)
    check_shape(record, record.model, own.fingerprint, record.vocabulary_size, path)
    for name, value in (("virtual", parallel.virtual), ("context", parallel.context)):
        if value > 1:
            remedy = "set it to 1: any checkpoint is read under any layout"
            raise UserError(
                f"option parallel.{name}", found=f"{value}, which scoring does not divide by", remedy=remedy
            )
    size = parallel.model_size
    batch = BatchShape(micro_batch=1, global_batch=max(world_size() // size, 1), sequence_length=PADDING * size)
    check_layout(parallel, record.model, batch, processes=world_size(), backend=backend_name())
    core = transformer_config(record.model, parallel, precision=PRECISIONS[dtype], uses_engine=False)
    length = default_positions(record)
    with open_processes(parallel) as processes:
        chunks = build_model(record.model, core, vocabulary_size=record.vocabulary_size, sequence_length=length, seed=1)
        load_weights(path, chunks)
        for chunk in chunks:
            chunk.eval()
        yield MegatronLikelihood(path, chunks, processes, own, num_ids=record.vocabulary_size, max_length=length)


class MegatronLikelihood:
    """A Megatron model that scores tokens.

    Args:
        path: of the checkpoint.
        chunks: this process's part of the model.
        processes: the open process groups.
        vocabulary: of the model.
        num_ids: V, padded.
        max_length: longest context that its export would promise.
    """

    def __init__(
        self,
        path: Path,
        chunks: Sequence[torch.nn.Module],
        processes: Processes,
        vocabulary: Vocabulary,
        *,
        num_ids: int,
        max_length: int,
    ) -> None:
        self.path, (self.chunk,) = path, chunks
        self.processes, self.vocabulary = processes, vocabulary
        self.num_ids, self.max_length = num_ids, max_length

    @torch.inference_mode()
    def log_probabilities(self, rows: Sequence[Ids], modality: TargetModality = "any") -> list[LogProbabilities]:
        """See `lm.inference.likelihood.LikelihoodModel`."""
        lengths = [len(row) for row in rows]
        if lengths and max(lengths) > self.max_length:
            excess = f"{max(lengths)} tokens for a model of {self.max_length} positions"
            raise UserError("the text to score", found=excess, remedy="shorten it")
        scored = TargetIds(self.vocabulary, self.num_ids, modality)
        starts = np.concatenate([[0], np.cumsum([max(length - 1, 0) for length in lengths])]).astype(int)
        # Each number is filled in by one data parallel copy, and summed over all.
        values = torch.zeros(int(starts[-1]), dtype=torch.float64, device=self.processes.device)
        multiple = math.lcm(PADDING, parallel_state.get_tensor_model_parallel_world_size())
        for number, batch in enumerate(length_buckets(lengths, BATCH_TOKENS, multiple)):
            if number % self.processes.data_size != self.processes.data_rank:
                continue
            padded = max(-(-lengths[batch[0]] // multiple) * multiple, multiple)
            found_RT = self._run(padded_rows([rows[row] for row in batch], padded), scored)
            for place, row in enumerate(batch):
                if found_RT is not None and lengths[row] > 1:
                    values[starts[row] : starts[row + 1]] = found_RT[place, : lengths[row] - 1].double()
        whole = self.processes.sum_from_last_stage(values).cpu().numpy()
        return [whole[start:end] for start, end in itertools.pairwise(starts.tolist())]

    def _run(self, ids_RT: Tensor, scored: TargetIds) -> Tensor | None:
        """The log-probabilities (R, T - 1) of one batch; None on all but the last pipeline stage."""
        reports = get_forward_backward_func()(
            forward_step_func=partial(self._forward, ids_RT.to(self.processes.device), scored),
            data_iterator=iter([None]),
            model=self.chunk,
            num_microbatches=1,
            micro_batch_size=len(ids_RT),
            seq_length=ids_RT.shape[1],
            forward_only=True,
        )
        return reports[0]["log_probabilities"] if reports else None

    def _forward(self, ids_RT: Tensor, scored: TargetIds, _: Any, chunk: torch.nn.Module) -> tuple[Tensor, Any]:
        positions_RT = torch.arange(ids_RT.shape[1], device=ids_RT.device).expand_as(ids_RT)
        output = chunk(ids_RT, positions_RT, None)
        return output, partial(_log_probabilities, ids_RT, scored)


def _log_probabilities(
    ids_RT: Tensor, scored: TargetIds, logits_RTW: Tensor
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """megatron-core's loss function: the report is all that counts here."""
    group = parallel_state.get_tensor_model_parallel_group()
    targets = ids_RT[:, 1:]
    logits = scored.mask_(logits_RTW[:, :-1].float().clone(), targets, group.rank() * logits_RTW.shape[-1])
    losses, _ = cross_entropy(logits, targets, group)
    return (
        losses.sum(),
        torch.tensor(losses.numel(), dtype=torch.int, device=losses.device),
        {"log_probabilities": -losses},
    )
