"""Micro batches of a process: the mixture's training samples from any step on, and each corpus's validation samples."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from torch import Tensor

from lm.data.clip_batches import ClipReader
from lm.data.corpora import TRANSCRIPTS
from lm.data.dataset import (
    build_training_data,
    build_validation_data,
    documents_of,
    finish_cache,
    padding_share,
    prepare_cache,
)
from lm.data.loss_mask import Loss
from lm.data.micro_batches import BatchIndices, CountClips, read_batches

from .inputs import TrainingInputs
from .speech_config import DIVERGENCE

Batches = list[Iterator[dict[str, Tensor]]]  # one reader for each chunk of the model


class ValidationBatches(NamedTuple):
    """The validation samples of one corpus, in ``num_micro_batches`` micro batches."""

    batches: Batches
    num_micro_batches: int


class CorpusBatches:
    """The samples of all corpora, indexed in ``<out>/index``.

    Args:
        inputs: of the training.
    """

    def __init__(self, inputs: TrainingInputs) -> None:
        config, run, processes, vocabulary, corpora, mixture, speech = inputs
        self.parallel, self.loop, self.processes = config.parallel, config.train, processes
        loop, cache, started = self.loop, run.folder / "index", time.monotonic()
        if processes.rank == 0:
            prepare_cache(cache)
        processes.barrier()  # the others read the index that the first one builds
        options: dict[str, Any] = {"sequence_length": loop.sequence_length, "seed": config.seed, "cache": cache}
        imitates = speech is not None and speech.config.loss == DIVERGENCE
        options["packing"] = TRANSCRIPTS if imitates else loop.packing
        losses = cast(dict[str, Loss], config.losses) if speech is None else speech.losses(config.losses, corpora)
        # Only the beginning of the model takes clips.
        self.clips = speech.collation() if speech is not None and processes.is_first_stage else None

        def readers(split: str) -> dict[str, ClipReader]:
            found = {name: speech.reader(corpus, split) for name, corpus in corpora.items()} if speech else {}
            return {name: reader for name, reader in found.items() if reader is not None}

        self.num_samples = loop.steps * loop.global_batch
        self.training_data = build_training_data(
            corpora,
            mixture.shares,
            vocabulary,
            num_samples=self.num_samples,
            losses=losses,
            clips=readers("train"),
            **options,
        )
        held_out = readers("valid")
        self.validation_data = {
            name: build_validation_data(
                corpus, vocabulary, loss=losses.get(name, "all"), clips=held_out.get(name), **options
            )
            for name, corpus in corpora.items()
            if corpus.splits["valid"].documents
        }
        if processes.rank == 0:
            finish_cache(cache)
        run.say(f"index of {self.num_samples:,} samples: {time.monotonic() - started:.1f} s")
        if run.is_main:
            run.say(self._describe_batch())

    def training(self, first_step: int, count_clips: CountClips | None = None) -> Batches:
        """This process's micro batches from ``first_step`` to the last step of the run."""
        loop = self.loop
        return self._readers(
            self.training_data,
            first_step=first_step,
            last_step=loop.steps,
            global_batch=loop.global_batch,
            num_samples=self.num_samples,
            workers=loop.data_workers,
            count_clips=count_clips,
        )

    def _describe_batch(self) -> str:
        """One line for the log: sequences and tokens of a step, their division, and the share of padding."""
        loop, copies = self.loop, self.processes.data_size
        turns = loop.global_batch // (loop.micro_batch * copies)
        return (
            f"a step: {loop.global_batch} sequences of {loop.sequence_length} = {loop.tokens_per_step:,} tokens, "
            f"{padding_share(self.training_data):.1%} of them padding "
            f"(micro batch {loop.micro_batch}, copies of the model {copies}, micro batches {turns})"
        )

    def describe_step(self, step: int) -> str:
        """Words for the documents that this process reads in a step of the training."""
        indices = self._indices(step, step + 1, self.loop.global_batch, self.num_samples)
        numbers = [number for batch in indices for number in batch if number is not None]
        return f"it reads {documents_of(self.training_data, numbers)}"

    def validation(self, name: str, count_clips: CountClips | None = None) -> ValidationBatches:
        """This process's micro batches of the validation samples of corpus ``name``."""
        data = self.validation_data[name]
        num_samples = min(len(data), self.loop.validation_samples or len(data))
        group = self.loop.micro_batch * self.processes.data_size
        # The interleaved schedule takes multiples of the pipeline's size; samples beyond the last only fill.
        whole = self.parallel.pipeline if self.parallel.virtual > 1 else 1
        micro_batches = math.ceil(num_samples / group / whole) * whole
        batches = self._readers(
            data,
            first_step=0,
            last_step=1,
            global_batch=micro_batches * group,
            num_samples=num_samples,
            count_clips=count_clips,
        )
        return ValidationBatches(batches, micro_batches)

    def _readers(
        self, data: Any, *, first_step: int, last_step: int, global_batch: int, num_samples: int, workers: int = 0,
        count_clips: CountClips | None,
    ) -> Batches:  # fmt: skip
        """One reader for each chunk of the model: the interleaved schedule reads for each on its own."""
        indices = self._indices(first_step, last_step, global_batch, num_samples)
        pin = self.processes.device.type == "cuda"
        return [
            read_batches(
                data,
                indices,
                workers=workers,
                pin=pin,
                clips=None if chunk else self.clips,
                count_clips=count_clips,
            )
            for chunk in range(self.parallel.virtual)
        ]

    def _indices(self, first_step: int, last_step: int, global_batch: int, num_samples: int) -> BatchIndices:
        return BatchIndices(
            first_step=first_step,
            last_step=last_step,
            global_batch=global_batch,
            micro_batch=self.loop.micro_batch,
            data_rank=self.processes.data_rank,
            data_size=self.processes.data_size,
            num_samples=num_samples,
        )
