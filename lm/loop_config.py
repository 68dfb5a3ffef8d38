"""The options of the training loop."""

from __future__ import annotations

from dataclasses import dataclass

from corpus.errors import check_option


@dataclass(kw_only=True)
class LoopConfig:
    """Steps, batches, learning rate and what is written when.

    Attributes:
        steps: optimizer steps of the whole run.
        sequence_length: tokens of a packed sequence.
        micro_batch: sequences a model copy computes at once.
        global_batch: sequences of one step, over all model copies and accumulated micro batches.
        learning_rate: peak, reached after the warm-up.
        final_learning_rate: at the last step.
        warmup_steps: steps of linear warm-up from 0.
        schedule: ``linear`` (the paper), ``cosine`` or ``constant``.
        weight_decay: AdamW's, on matrices only.
        beta1: AdamW's first-moment decay.
        beta2: AdamW's second-moment decay.
        clip_norm: gradient norm above which gradients are scaled down; 0 never.
        precision: ``fp32``; ``bf16`` (weights and activations; gradients, master weights and optimizer stay fp32);
            ``auto``: bf16 where the hardware is fast at it (on a CPU: AVX512-BF16 or AMX), else fp32.
        recompute: recompute activations in the backward pass: ``none``, ``selective`` (attention) or ``full``.
        reset_attention: no attention across the documents packed into one sequence.
        interleaved_speech_loss: ``all`` (the paper) or ``text_only`` (InSerter): interleaved documents' speech labels.
        max_skipped_steps: steps with a loss or gradient that is not finite are skipped, this many at most.
        log_every: steps between rows of the training curve.
        validate_every: steps between validations; 0 validates at the end only.
        validation_samples: sequences of each validation corpus; 0 takes all.
        checkpoint_every: steps between checkpoints; 0 saves at the end only.
        keep: checkpoints that are kept.
        data_workers: processes that read batches ahead; 0 reads in the training process.
        threads: CPU threads of a process.
        peak_tflops: an accelerator's peak, for the model FLOPs utilisation; 0 looks it up by the device's name.
    """

    steps: int = 1000
    sequence_length: int = 256
    micro_batch: int = 8
    global_batch: int = 16
    learning_rate: float = 2e-3
    final_learning_rate: float = 2e-4
    warmup_steps: int = 50
    schedule: str = "linear"
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    precision: str = "auto"
    recompute: str = "none"
    reset_attention: bool = True
    interleaved_speech_loss: str = "all"
    max_skipped_steps: int = 10
    log_every: int = 10
    validate_every: int = 200
    validation_samples: int = 64
    checkpoint_every: int = 200
    keep: int = 2
    data_workers: int = 0
    threads: int = 1
    peak_tflops: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "sequence_length", "micro_batch", "global_batch", "log_every", "keep", "threads"):
            value = getattr(self, name)
            check_option(value > 0, f"train.{name}", value, "give a positive number")
        for name in ("warmup_steps", "max_skipped_steps", "validate_every", "validation_samples", "checkpoint_every"):
            value = getattr(self, name)
            check_option(value >= 0, f"train.{name}", value, "give 0 or more")
        choices = {
            "schedule": ("linear", "cosine", "constant"),
            "precision": ("auto", "fp32", "bf16"),
            "recompute": ("none", "selective", "full"),
            "interleaved_speech_loss": ("all", "text_only"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            check_option(value in allowed, f"train.{name}", value, f"choose one of {', '.join(allowed)}")
        rate = self.learning_rate
        check_option(rate > 0, "train.learning_rate", rate, "give a positive number")
        falls = f"give a number between 0 and train.learning_rate = {rate}"
        check_option(
            0 <= self.final_learning_rate <= rate, "train.final_learning_rate", self.final_learning_rate, falls
        )
        before_end = f"give fewer than train.steps = {self.steps}"
        check_option(self.warmup_steps < self.steps, "train.warmup_steps", self.warmup_steps, before_end)
        check_option(self.data_workers >= 0, "train.data_workers", self.data_workers, "give 0 or more")

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step."""
        return self.global_batch * self.sequence_length
