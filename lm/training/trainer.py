"""The training loop: gradient accumulation, schedule, clipping, validation, checkpoints and exact resume.

Shapes: B micro batch, S tokens of a sequence.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncCallsQueue
from torch import Tensor

from lm.data.corpora import open_corpus
from lm.data.mixture import mix
from lm.data.vocabulary import Vocabulary
from runtime.curve import Curve
from runtime.errors import UserError
from runtime.stage import Run

from .attention import has_varlen_attention
from .batches import CorpusBatches
from .checkpoint import (
    CheckpointRecord,
    check_optimizer,
    check_shape,
    find_checkpoint,
    inner_model,
    latest_checkpoint,
    load_checkpoint,
    load_weights,
    save_checkpoint,
)
from .checkpoint_writer import explained_failure, finish
from .clip_tally import ClipTally
from .config import LmTrainConfig
from .cpu import keep_freed_memory
from .hardware import Hardware, check_hardware, fuses_gradients
from .inputs import TrainingInputs
from .losses import NUM_SUMS, Losses, are_finite
from .model import (
    build_model,
    gather_parameters,
    open_tensor_overlap,
    resolve_precision,
    transformer_config,
    wrap_for_training,
)
from .optimizer import (
    BY_COPY,
    RATE_MARKS,
    RESHARDABLE,
    build_optimizer,
    decays_vectors,
    is_divided_in_whole_buckets,
    update,
)
from .parallel import check_layout, world_size
from .passes import ForwardBackward
from .processes import backend_name, open_processes, seed_processes
from .schedule import learning_rate
from .speech_config import DIVERGENCE, SpeechRecord
from .speech_setup import open_speech
from .speed import SpeedMeter
from .stall_watch import StallWatch


def train(config: LmTrainConfig, run: Run) -> dict[str, Any]:
    """Open vocabulary, corpora and process groups, and train; returns the metrics of `lm.train`.

    Raises:
        UserError: an impossible layout or mixture, a vocabulary that is not the corpora's, absent hardware.
    """
    loop = config.train
    torch.set_num_threads(loop.threads)
    check_layout(config.parallel, config.model, config.batch_shape, processes=world_size(), backend=backend_name())
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    check_hardware(
        loop,
        config.model,
        config.parallel,
        Hardware.here(),
        processes=world_size(),
        vocabulary_size=vocabulary.padded_size(config.model.vocabulary_multiple),
    )
    corpora = {name: open_corpus(folder, vocabulary) for name, folder in config.corpora.items()}
    mixture = mix(
        corpora,
        weights=config.weights,
        rule=config.mixture,
        text_share=config.text_share,
        budget=loop.steps * loop.tokens_per_step,
        max_epochs=config.max_epochs,
    )
    run.say(mixture.table())
    speech = open_speech(config.speech, corpora, vocabulary, config.parallel, begun_speech(config, run))
    if speech is not None:
        speech.losses(config.losses, corpora)
        run.say(speech.summary)
    with open_processes(config.parallel) as processes:
        return Trainer(TrainingInputs(config, run, processes, vocabulary, corpora, mixture, speech)).train()


def begun_speech(config: LmTrainConfig, run: Run) -> SpeechRecord | None:
    """The speech input of the checkpoint that a run goes on from, or begins with."""
    path = latest_checkpoint(run.folder / "checkpoint") or (find_checkpoint(config.init) if config.init else None)
    return CheckpointRecord.read(path).speech if path else None


class Trainer:
    """One run of `lm.train` on this process.

    Args:
        inputs: of the training.
    """

    def __init__(self, inputs: TrainingInputs) -> None:
        self.config, self.run, self.processes, self.vocabulary, self.corpora, _, self.speech = inputs
        self.loop = self.config.train
        self.folder = self.run.folder / "checkpoint"
        self.vocabulary_size = self.vocabulary.padded_size(self.config.model.vocabulary_multiple)
        self.skipped_steps = 0
        self.unread: list[tuple[int, Tensor]] = []  # steps whose numbers lie on the device
        if self.processes.device.type == "cpu":
            keep_freed_memory()
        self.background = AsyncCallsQueue() if self.loop.async_save else None
        self.data = CorpusBatches(inputs)
        self.tally = self._new_tally()
        self._build_model()
        self.speed = SpeedMeter(self.config, self.vocabulary_size, self.processes)

    def train(self) -> dict[str, Any]:
        """Run from the newest checkpoint (or the beginning) to the last step; returns the stage's metrics."""
        loop, first_step = self.loop, self._resume()
        batches = self.data.training(first_step, None if self.tally is None else self.tally.add)
        curve = Curve(self.run.folder, first_step=first_step, is_written=self.run.is_main)
        bar = self.run.progress(loop.steps, "training", start=first_step, unit="step")
        watch = StallWatch(loop.stall_seconds, self.data.describe_step, self.processes.rank)
        with bar, watch, termination() as is_terminated:
            for step in range(first_step, loop.steps):
                done = step + 1
                row: dict[str, float] = {}
                with watch.over(step):
                    self.unread.append((step, self._step(step, batches)))
                    if done % loop.log_every == 0 or done == loop.steps:
                        row = self._read_steps()
                self.speed.count(loop.tokens_per_step)
                bar.update(1, **{name: row[name] for name in ("loss",) if name in row})
                if row:
                    timing = self.speed.take()
                    curve.add(done, row, timing=timing)
                    self.run.say(log_line(done, loop.steps, row, timing))
                if loop.validate_every and done % loop.validate_every == 0 and done < loop.steps:
                    curve.add(done, self._validate())
                self._publish(is_blocking=False)
                is_stopping = self.processes.any_of_all(is_terminated())
                if is_stopping or done == loop.steps:
                    self._save(done, is_kept=True)
                elif loop.checkpoint_every and done % loop.checkpoint_every == 0:
                    self._save(done, is_kept=bool(loop.keep_every) and done % loop.keep_every == 0)
                if is_stopping and done < loop.steps:
                    self._publish(is_blocking=True)
                    self.run.say(f"terminated: saved at step {done}; call again to go on from there")
                    raise SystemExit(0)
            self._publish(is_blocking=True)
        validation = self._validate()
        curve.add(loop.steps, validation)
        curve.close()
        return self._metrics(curve, validation)

    def _step(self, step: int, batches: list[Iterator[dict[str, Tensor]]]) -> Tensor:
        """One optimizer step, in which nothing is read from the device.

        Returns:
            (8,) on the device: `loss_sums`, the gradient norm, and whether the step was taken.
        """
        seed_processes(self.config.seed, step)
        for chunk in self.chunks:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        micro_batches = self.loop.global_batch // (self.loop.micro_batch * self.processes.data_size)
        sums = self.passes.run(batches, micro_batches, is_training=True)
        if self.tally is not None:
            self.tally.settle()
        rate = learning_rate(step, self.loop)
        result = update(self.optimizer, rate, self.loop, are_finite(sums), self.rate_shares)
        return torch.cat([sums, torch.stack([result.gradient_norm, result.is_taken]).to(sums.dtype)])

    def _read_steps(self) -> dict[str, float]:
        """Read the numbers of the steps since the last call, and count those that were skipped.

        Returns:
            The last step's row for the curve; empty where there was none.
        """
        row: dict[str, float] = {}
        steps = [step for step, _ in self.unread]
        numbers = torch.stack([one for _, one in self.unread]).cpu() if self.unread else torch.empty(0)
        self.unread.clear()
        for step, one in zip(steps, numbers, strict=True):
            losses, (norm, is_taken) = Losses.from_sums(one[:NUM_SUMS]), one[NUM_SUMS:].tolist()
            row = losses.row("loss") | {"learning_rate": learning_rate(step, self.loop)}
            row["target_share"] = losses.labels / self.loop.tokens_per_step
            if self.loop.z_loss:
                row["z_loss"] = self.loop.z_loss * losses.square
            if self.passes.temperature:
                row["kl"] = losses.divergence
            if losses.is_finite:
                row["gradient_norm"] = norm
            if not is_taken:
                self._skip(step, losses)
        return row

    def _new_tally(self, read: int = 0, unreadable: int = 0) -> ClipTally | None:
        """The count of clips, where some may be unreadable."""
        if self.speech is None or not self.speech.is_tolerant:
            return None
        share = self.speech.config.max_unreadable_share
        return ClipTally(share, self.processes, self.run.say, read=read, unreadable=unreadable)

    def _skip(self, step: int, losses: Losses) -> None:
        self.skipped_steps += 1
        self.run.say(f"step {step + 1} skipped: loss {losses.total} or its gradient is not finite")
        if self.skipped_steps > self.loop.max_skipped_steps:
            found = f"{self.skipped_steps} steps whose loss or gradient is not finite, the last is step {step + 1}"
            remedy = "lower train.learning_rate, lengthen train.warmup_steps, or raise train.max_skipped_steps"
            raise UserError("training", found=found, remedy=remedy)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Validation loss of each corpus, of each format and over all, each also by modality."""
        formats: dict[str, Losses] = {}
        rows: dict[str, float] = {}
        with self.speed.paused():
            gather_parameters(self.chunks)
            for chunk in self.chunks:
                chunk.eval()
            for name in self.data.validation_data:
                tally = self._new_tally()
                batches = self.data.validation(name, None if tally is None else tally.add)
                losses = Losses.from_sums(self.passes.run(*batches, is_training=False))
                if tally is not None:
                    tally.settle()
                rows |= losses.row(f"val_loss.{name}")
                if self.passes.temperature:
                    rows[f"val_kl.{name}"] = losses.divergence
                kind = self.corpora[name].format
                formats[kind] = formats.get(kind, Losses()) + losses
            for chunk in self.chunks:
                chunk.train()
        if rows:
            shown = (f"{key.removeprefix('val_loss.')} {value:.4f}" for key, value in rows.items())
            self.run.say("validation | " + ", ".join(shown))
        for kind, losses in formats.items():
            rows |= losses.row(f"val_loss_of_format.{kind}")
        return rows | sum(formats.values(), Losses()).row("val_loss_of_all")

    def _build_model(self) -> None:
        config, loop = self.config, self.loop
        self.precision = resolve_precision(loop.precision)
        core = transformer_config(
            config.model,
            config.parallel,
            precision=self.precision,
            recompute=loop.recompute,
            uses_engine=loop.layers != "local",
            fp8=loop.fp8,
            fp8_recipe=loop.fp8_recipe,
            fuses_gradients=fuses_gradients(loop, Hardware.here(), self.precision),
        )
        if config.parallel.overlap_tensor:
            open_tensor_overlap(config.parallel, loop, config.model)
        has_engine = core.transformer_impl == "transformer_engine"
        if has_engine and loop.reset_attention and config.parallel.context > 1:
            found = f"true, with parallel.context={config.parallel.context} and Transformer Engine"
            remedy = "set it to false: packed documents of any length cannot be divided between context processes"
            raise UserError("option train.reset_attention", found=found, remedy=remedy)
        chunks = build_model(
            config.model,
            core,
            vocabulary_size=self.vocabulary_size,
            sequence_length=loop.sequence_length,
            seed=config.seed,
            speech=self.speech,
        )
        for chunk in chunks:
            inner_model(chunk).gives_normaliser = loop.z_loss > 0
            inner_model(chunk).loss_slices = loop.loss_slices
        self.chunks = wrap_for_training(chunks, core, config.parallel)
        is_whole = config.parallel.context == 1
        takes_boundaries = has_engine or (is_whole and has_varlen_attention(core, self.processes.device))
        self.passes = ForwardBackward(
            self.chunks,
            loop,
            self.processes,
            is_packed=loop.reset_attention and takes_boundaries,
            needs_mask=not takes_boundaries,
            precision=self.precision,
            temperature=config.speech.temperature if config.speech.loss == DIVERGENCE else 0.0,
            is_tolerant=self.speech is not None and self.speech.is_tolerant,
        )
        self.optimizer = build_optimizer(
            self.chunks, loop, config.parallel, self.precision, has_speech=self.speech is not None
        )
        rates = {"connector": config.speech.learning_rate, "encoder": config.speech.encoder_learning_rate}
        is_divided = config.parallel.distributed_optimizer and is_divided_in_whole_buckets(self.optimizer)
        self.copies = self.processes.data_size * config.parallel.context
        self.frequent_sharding = RESHARDABLE if self.processes.any_of_all(not is_divided) else BY_COPY
        self.rate_shares = {RATE_MARKS[part]: rate / loop.learning_rate for part, rate in rates.items() if rate}

    def _resume(self) -> int:
        """Load the newest checkpoint of this run, else the weights of ``init``; returns the steps done."""
        own = latest_checkpoint(self.folder)
        path = own or (find_checkpoint(self.config.init) if self.config.init else None)
        if path is None:
            return 0
        record = CheckpointRecord.read(path)
        speech = self.speech.record if self.speech else None
        check_shape(record, self.config.model, self.vocabulary.fingerprint, self.vocabulary_size, path, speech)
        if own:
            check_optimizer(record, self.config.parallel, self.precision, path, self.copies)
            if record.step > self.loop.steps:
                remedy = (
                    f"give at least train.steps={record.step}, choose another out=, or begin anew with restart=true"
                )
                found = f"{self.loop.steps}, and a checkpoint of step {record.step}"
                raise UserError("option train.steps", found=found, remedy=remedy)
            load_checkpoint(path, self.chunks, self.optimizer)
            self.skipped_steps = record.skipped_steps
            self.tally = self._new_tally(record.clips, record.unreadable_clips)
            self.run.say(f"resumed at step {record.step} from {path}")
            if decays_vectors(self.optimizer):
                self.run.say("its steps took weight decay off norms and biases, too; those from here on do not")
            return record.step
        load_weights(path, self.chunks)
        self.optimizer.reload_model_params()
        self.run.say(f"weights of step {record.step} from {path}")
        return 0

    def _save(self, step: int, *, is_kept: bool) -> None:
        self._read_steps()
        record = CheckpointRecord(
            step=step,
            model=self.config.model,
            vocabulary=self.vocabulary.fingerprint,
            vocabulary_size=self.vocabulary_size,
            sequence_length=self.loop.sequence_length,
            parallel=self.config.parallel,
            precision=self.precision,
            skipped_steps=self.skipped_steps,
            speech=self.speech.record if self.speech else None,
            sharding=RESHARDABLE if is_kept else self.frequent_sharding,
            copies=self.copies,
            clips=0 if self.tally is None else self.tally.read,
            unreadable_clips=0 if self.tally is None else self.tally.unreadable,
        )
        self._publish(is_blocking=True)
        with self.speed.paused(), explained_failure(self.folder):
            gather_parameters(self.chunks)
            save_checkpoint(
                self.folder,
                record,
                self.chunks,
                self.optimizer,
                self.processes,
                keep=self.loop.keep,
                keep_every=self.loop.keep_every,
                background=self.background,
            )

    def _publish(self, *, is_blocking: bool) -> None:
        """Let background saves whose writers have ended (or all) become checkpoints."""
        if self.background is not None and self.background.get_num_unfinalized_calls():
            finish(self.background, self.folder, is_blocking=is_blocking)

    def _metrics(self, curve: Curve, validation: dict[str, float]) -> dict[str, Any]:
        return {
            "train_loss": curve.last("loss"),
            **validation,
            "steps": self.loop.steps,
            "tokens": self.loop.steps * self.loop.tokens_per_step,
            "parameters": self.config.model.num_parameters(self.vocabulary_size),
            "skipped_steps": self.skipped_steps,
            **({} if self.tally is None else {"clips": self.tally.read, "unreadable_clips": self.tally.unreadable}),
            "tensor_parallel": self.config.parallel.tensor,
            "pipeline_parallel": self.config.parallel.pipeline,
            "data_parallel": self.processes.data_size,
            "precision": self.precision,
            "tokens_per_second": round(self.speed.mean_tokens_per_second, 1),
        }


def log_line(step: int, steps: int, row: Mapping[str, float], timing: Mapping[str, float]) -> str:
    """One line of the log."""
    shown = [name for name in row if name.startswith("loss") or name in ("z_loss", "kl")]
    parts = [f"{name.removeprefix('loss.')} {row[name]:.4f}" for name in shown]
    parts.append(f"targets {row['target_share']:.0%}")
    parts.append(f"lr {row['learning_rate']:.3g}")
    if "gradient_norm" in row:
        parts.append(f"grad {row['gradient_norm']:.3f}")
    parts.append(f"{timing['tokens_per_second']:,.0f} tok/s")
    parts.append(f"{timing['model_tflops_per_process']:.3g} TFLOP/s")
    if "model_flops_utilisation" in timing:
        parts.append(f"MFU {timing['model_flops_utilisation']:.1%}")
    return f"step {step}/{steps} | " + " | ".join(parts)


@contextmanager
def termination() -> Iterator[Any]:
    """While open, SIGTERM is only recorded; yields a function that returns whether one came."""
    received: list[float] = []
    before = signal.signal(signal.SIGTERM, lambda *_: received.append(time.time()))
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, before)
