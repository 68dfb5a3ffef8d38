"""The training loop: gradient accumulation, schedule, clipping, validation, checkpoints and exact resume.

Shapes: B micro batch, S tokens of a sequence.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from corpus.errors import UserError
from corpus.stage import Run

from .checkpoint import (
    CheckpointRecord,
    check_shape,
    find_checkpoint,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from .corpora import CorpusInfo
from .curve import Curve
from .data import (
    BatchIndices,
    build_training_data,
    build_validation_data,
    finish_cache,
    prepare_cache,
    read_batches,
)
from .documents import model_inputs
from .losses import Losses, loss_sums
from .mixture import Mixture
from .model import DTYPES, build_model, resolve_precision, transformer_config, wrap_for_training
from .optimizer import build_optimizer, update
from .processes import Processes, seed_processes
from .schedule import learning_rate
from .speed import SpeedMeter
from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from .train import TrainConfig


class Trainer:
    """One run of `lm.train` on this process.

    Args:
        config: the stage's config.
        run: its folder.
        processes: the open process groups.
        vocabulary: of the corpora.
        corpora: name -> opened corpus.
        mixture: how often each is read.
    """

    def __init__(
        self,
        config: TrainConfig,
        run: Run,
        processes: Processes,
        vocabulary: Vocabulary,
        corpora: Mapping[str, CorpusInfo],
        mixture: Mixture,
    ) -> None:
        self.config, self.loop, self.run, self.processes = config, config.train, run, processes
        self.vocabulary, self.corpora = vocabulary, corpora
        self.vocabulary_size = vocabulary.padded_size(config.model.vocabulary_multiple)
        self.skipped_steps = 0
        self._build_data(mixture)
        self._build_model()
        self.speed = SpeedMeter(config, self.vocabulary_size, processes)

    def train(self) -> dict[str, Any]:
        """Run from the newest checkpoint (or the beginning) to the last step; returns the stage's metrics."""
        loop, first_step = self.loop, self._resume()
        batches = self._training_batches(first_step)
        curve = Curve(self.run.folder, first_step=first_step, is_shown=self.run.is_main)
        bar = self.run.progress(loop.steps, "training", start=first_step, unit="step")
        with bar, termination() as is_terminated:
            for step in range(first_step, loop.steps):
                losses, row = self._step(step, batches)
                done = step + 1
                self.speed.count(loop.tokens_per_step)
                bar.update(loss=losses.total)
                if done % loop.log_every == 0 or done == loop.steps:
                    timing = self.speed.take()
                    curve.add(done, row, timing=timing)
                    self.run.say(log_line(done, loop.steps, row, timing))
                if loop.validate_every and done % loop.validate_every == 0 and done < loop.steps:
                    curve.add(done, self._validate())
                is_stopping = self.processes.any_of_all(is_terminated())
                if is_stopping or done == loop.steps or (loop.checkpoint_every and done % loop.checkpoint_every == 0):
                    self._save(done)
                if is_stopping and done < loop.steps:
                    self.run.say(f"terminated: saved at step {done}; call again to go on from there")
                    raise SystemExit(128 + signal.SIGTERM)
        validation = self._validate()
        curve.add(loop.steps, validation)
        curve.close()
        return self._metrics(curve, validation)

    def _step(self, step: int, batches: list[Iterator[dict[str, Tensor]]]) -> tuple[Losses, dict[str, float]]:
        """One optimizer step: returns its losses and the row for the curve."""
        seed_processes(self.config.seed, step)
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        micro_batches = self.loop.global_batch // (self.loop.micro_batch * self.processes.data_size)
        losses = self._forward_backward(batches, micro_batches, forward_only=False)
        rate = learning_rate(step, self.loop)
        row = losses.row("loss") | {"learning_rate": rate}
        if losses.is_finite:
            result = update(self.optimizer, rate, self.loop.clip_norm)
            row["gradient_norm"] = result.gradient_norm
        if not losses.is_finite or not result.is_taken:
            self._skip(step, losses)
        return losses, row

    def _skip(self, step: int, losses: Losses) -> None:
        self.skipped_steps += 1
        self.run.say(f"step {step + 1} skipped: loss {losses.total} or its gradient is not finite")
        if self.skipped_steps > self.loop.max_skipped_steps:
            found = f"{self.skipped_steps} steps whose loss or gradient is not finite, the last is step {step + 1}"
            remedy = "lower train.learning_rate, lengthen train.warmup_steps, or raise train.max_skipped_steps"
            raise UserError("training", found=found, remedy=remedy)

    def _forward_backward(
        self, batches: list[Iterator[dict[str, Tensor]]], micro_batches: int, *, forward_only: bool
    ) -> Losses:
        """Run micro batches through megatron-core's pipeline schedule; gradients are left in the buffers."""
        size = (self.loop.micro_batch, self.loop.sequence_length)
        if self.has_engine and self.loop.reset_attention:  # one long sequence
            size = (1, size[0] * size[1])
        reports = get_forward_backward_func()(
            forward_step_func=self._forward,
            data_iterator=batches if len(batches) > 1 else batches[0],
            model=self.chunks if len(self.chunks) > 1 else self.chunks[0],
            num_microbatches=micro_batches,
            micro_batch_size=size[0],
            seq_length=size[1],
            forward_only=forward_only,
        )
        sums = torch.zeros(4, dtype=torch.float64, device=self.processes.device)
        for report in reports:
            sums += report["sums"]
        return Losses.of(self.processes.sum_from_last_stage(sums))

    def _forward(self, batches: Iterator[dict[str, Tensor]], chunk: torch.nn.Module) -> tuple[Tensor, Any]:
        """megatron-core's forward step: one micro batch through one chunk, and the function that makes its loss."""
        batch = {name: tensor.to(self.processes.device, non_blocking=True) for name, tensor in next(batches).items()}
        inputs = model_inputs(
            batch,
            reset_attention=self.loop.reset_attention,
            has_engine=self.has_engine,
            dtype=DTYPES[self.precision],
        )
        output = chunk(
            inputs.tokens,
            inputs.positions,
            inputs.attention_mask,
            labels=inputs.labels,
            packed_seq_params=inputs.packed,
        )
        return output, partial(_masked_loss, inputs)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Validation loss of each corpus and modality."""
        with self.speed.paused():
            rows: dict[str, float] = {}
            for name, dataset in self.validation.items():
                num_samples = min(len(dataset), self.loop.validation_samples or len(dataset))
                group = self.loop.micro_batch * self.processes.data_size
                # The interleaved schedule takes multiples of the pipeline's size; samples beyond the last only fill.
                whole = self.config.parallel.pipeline if len(self.chunks) > 1 else 1
                micro_batches = math.ceil(num_samples / group / whole) * whole
                batches = self._batches(dataset, 0, 1, micro_batches * group, num_samples)
                for chunk in self.chunks:
                    chunk.eval()
                rows |= self._forward_backward(batches, micro_batches, forward_only=True).row(f"val_loss.{name}")
                for chunk in self.chunks:
                    chunk.train()
        if rows:
            self.run.say("validation | " + ", ".join(f"{key[9:]} {value:.4f}" for key, value in rows.items()))
        return rows

    def _build_data(self, mixture: Mixture) -> None:
        loop, cache = self.loop, self.run.folder / "index"
        if self.processes.rank == 0:
            prepare_cache(cache)
        self.processes.barrier()
        options: dict[str, Any] = {"sequence_length": loop.sequence_length, "seed": self.config.seed, "cache": cache}
        self.training = build_training_data(
            self.corpora,
            mixture.shares,
            self.vocabulary,
            num_samples=loop.steps * loop.global_batch,
            is_span_speech_counted=loop.interleaved_speech_loss == "all",
            **options,
        )
        self.validation = {
            name: build_validation_data(corpus, self.vocabulary, **options)
            for name, corpus in self.corpora.items()
            if corpus.splits["valid"].documents
        }
        if self.processes.rank == 0:
            finish_cache(cache)

    def _build_model(self) -> None:
        config, loop = self.config, self.loop
        self.precision = resolve_precision(loop.precision)
        core = transformer_config(config.model, config.parallel, precision=self.precision, recompute=loop.recompute)
        self.has_engine = core.transformer_impl == "transformer_engine"
        if self.has_engine and loop.reset_attention and config.parallel.context > 1:
            found = f"true, with parallel.context={config.parallel.context} and Transformer Engine"
            remedy = "set it to false: packed documents of any length cannot be divided between context processes"
            raise UserError("option train.reset_attention", found=found, remedy=remedy)
        chunks = build_model(
            config.model,
            core,
            vocabulary_size=self.vocabulary_size,
            sequence_length=loop.sequence_length,
            seed=config.seed,
        )
        self.chunks = wrap_for_training(chunks, core, config.parallel)
        self.optimizer = build_optimizer(self.chunks, loop, config.parallel, self.precision)

    def _training_batches(self, first_step: int) -> list[Iterator[dict[str, Tensor]]]:
        loop = self.loop
        return self._batches(
            self.training, first_step, loop.steps, loop.global_batch, loop.steps * loop.global_batch, loop.data_workers
        )

    def _batches(
        self, dataset: Any, first_step: int, last_step: int, global_batch: int, num_samples: int, workers: int = 0
    ) -> list[Iterator[dict[str, Tensor]]]:
        """One reader for each chunk of the model: the interleaved schedule reads for each on its own."""
        indices = BatchIndices(
            first_step=first_step,
            last_step=last_step,
            global_batch=global_batch,
            micro_batch=self.loop.micro_batch,
            data_rank=self.processes.data_rank,
            data_size=self.processes.data_size,
            num_samples=num_samples,
        )
        pin = self.processes.device.type == "cuda"
        return [read_batches(dataset, indices, workers=workers, pin=pin) for _ in self.chunks]

    def _resume(self) -> int:
        """Load the newest checkpoint of this run, else the weights ``init`` names; returns the steps done."""
        mine = latest_checkpoint(self.run.folder / "checkpoint")
        path = mine or (find_checkpoint(self.config.init) if self.config.init else None)
        if path is None:
            return 0
        record = CheckpointRecord.read(path)
        check_shape(record, self.config.model, self.vocabulary.fingerprint, self.vocabulary_size, path)
        if mine:
            load_checkpoint(path, self.chunks, self.optimizer)
            self.skipped_steps = record.skipped_steps
            self.run.say(f"resumed at step {record.step} from {path}")
            return record.step
        load_weights(path, self.chunks)
        self.optimizer.reload_model_params()
        self.run.say(f"weights of step {record.step} from {path}")
        return 0

    def _save(self, step: int) -> None:
        record = CheckpointRecord(
            step=step,
            model=self.config.model,
            vocabulary=self.vocabulary.fingerprint,
            vocabulary_size=self.vocabulary_size,
            sequence_length=self.loop.sequence_length,
            parallel=self.config.parallel,
            precision=self.precision,
            skipped_steps=self.skipped_steps,
        )
        folder = Path(self.run.folder) / "checkpoint"
        with self.speed.paused():
            save_checkpoint(folder, record, self.chunks, self.optimizer, self.processes, keep=self.loop.keep)

    def _metrics(self, curve: Curve, validation: dict[str, float]) -> dict[str, Any]:
        return {
            "train_loss": curve.last("loss"),
            **validation,
            "steps": self.loop.steps,
            "tokens": self.loop.steps * self.loop.tokens_per_step,
            "parameters": self.config.model.num_parameters(self.vocabulary_size),
            "skipped_steps": self.skipped_steps,
            "tensor_parallel": self.config.parallel.tensor,
            "pipeline_parallel": self.config.parallel.pipeline,
            "data_parallel": self.processes.data_size,
            "precision": self.precision,
            "tokens_per_second": round(self.speed.mean_tokens_per_second, 1),
        }


def _masked_loss(inputs: Any, losses: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Loss sum and label count of a micro batch; megatron-core divides by the labels of the whole step."""
    total = (losses * inputs.loss_mask).sum()
    return total, inputs.loss_mask.sum().to(torch.int), {"sums": loss_sums(losses, inputs)}


def log_line(step: int, steps: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
    """One line of the log."""
    parts = [f"{name.removeprefix('loss.')} {value:.4f}" for name, value in row.items() if name.startswith("loss")]
    parts.append(f"lr {row['learning_rate']:.3g}")
    if "gradient_norm" in row:
        parts.append(f"grad {row['gradient_norm']:.3f}")
    parts.append(f"{timing['tokens_per_second']:,.0f} tok/s")
    if "model_flops_utilisation" in timing:
        parts.append(f"MFU {timing['model_flops_utilisation']:.1%}")
    return f"step {step}/{steps} | " + " | ".join(parts)


@contextmanager
def termination() -> Iterator[Any]:
    """While open, SIGTERM is only noted; yields a function that tells whether one came."""
    received: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(time.time()))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
