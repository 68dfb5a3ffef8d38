"""Micro batches of a process: which samples it reads at a step, and samples as tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from runtime.errors import UserError

from .clip_batches import NO_CLIPS, ClipCollation, CollatedClips
from .dataset import CLIPS
from .model_inputs import document_boundaries

CountClips = Callable[[int, Sequence[UserError]], None]


class BatchIndices:
    """The samples that this process reads, as a function of the step: the data position is the step itself.

    Yields one list of sample numbers for each micro batch from ``first_step`` on; None stands for a sample beyond
    ``num_samples``, which only fills the batch.
    """

    def __init__(
        self, *, first_step: int, last_step: int, global_batch: int, micro_batch: int, data_rank: int, data_size: int,
        num_samples: int,
    ) -> None:  # fmt: skip
        self.steps = range(first_step, last_step)
        self.global_batch, self.micro_batch = global_batch, micro_batch
        self.data_rank, self.data_size, self.num_samples = data_rank, data_size, num_samples

    def __len__(self) -> int:
        return len(self.steps) * (self.global_batch // (self.micro_batch * self.data_size))

    def __iter__(self) -> Iterator[list[int | None]]:
        for step in self.steps:
            for begin in range(0, self.global_batch, self.micro_batch * self.data_size):
                first = step * self.global_batch + begin + self.data_rank * self.micro_batch
                chosen = range(first, first + self.micro_batch)
                yield [number if number < self.num_samples else None for number in chosen]


def read_batches(
    dataset: torch.utils.data.Dataset[Any],
    indices: BatchIndices,
    *,
    workers: int = 0,
    pin: bool = False,
    clips: ClipCollation | None = None,
    count_clips: CountClips | None = None,
) -> Iterator[dict[str, Tensor]]:
    """Micro batches: dictionaries of (B, S) tensors, and ``boundaries`` (D + 1,) of their documents laid end to end.

    Args:
        dataset: of samples.
        indices: of the samples of each.
        workers: processes that read ahead.
        pin: put them into pinned memory.
        clips: adds the clips of the samples; None where they are not needed.
        count_clips: gets the number of clips of each micro batch when it is taken, and an error for each unreadable one
            that ``clips`` left out.

    Raises:
        UserError: a clip that cannot be read.
    """
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=cast(Any, indices),
        num_workers=workers,
        pin_memory=pin,
        collate_fn=_stack if clips is None else partial(_stack_with_clips, clips),
        prefetch_factor=4 if workers else None,
    )
    return iter(loader) if clips is None else _without_errors(iter(loader), count_clips)


def _stack(samples: list[dict[str, Any]]) -> dict[str, Tensor]:
    names = [name for name in samples[0] if name not in ("dataset_id", CLIPS)]
    columns = {name: np.stack([sample[name] for sample in samples]) for name in names}
    # Found on the host, in a data worker: on a device their number would have to be read.
    columns["boundaries"] = document_boundaries(columns["documents"])
    if "transcript_documents" in columns:
        columns["transcript_boundaries"] = document_boundaries(columns["transcript_documents"])
    return {name: torch.from_numpy(column) for name, column in columns.items()}


def _stack_with_clips(clips: ClipCollation, samples: list[dict[str, Any]]) -> CollatedClips | UserError:
    """A user's error is handed over as a result: raised in a worker, it would arrive as a traceback in words."""
    batch = _stack(samples)
    try:
        read = clips([sample.get(CLIPS, NO_CLIPS) for sample in samples], batch["tokens"].size(1))
    except UserError as error:
        return error
    return read._replace(tensors=batch | read.tensors)


def _without_errors(
    batches: Iterator[CollatedClips | UserError], count_clips: CountClips | None
) -> Iterator[dict[str, Tensor]]:
    for batch in batches:
        if isinstance(batch, UserError):
            raise batch
        if count_clips is not None:
            count_clips(batch.num_clips, batch.failures)
        yield batch.tensors
