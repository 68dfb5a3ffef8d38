"""The options of the optimisation loop, apart from the loop so that a stage's ``--help`` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import check_option


@dataclass(kw_only=True)
class FitConfig:
    """How a model is fitted: AdamW, linear warm-up, cosine decay.

    Attributes:
        steps: number of optimiser steps.
        learning_rate: the peak, reached after the warm-up.
        final_learning_rate: where the cosine ends, at the last step.
        warmup_steps: steps over which the learning rate rises from zero.
        weight_decay: AdamW's, on matrices only (not on biases, norms or other vectors).
        beta2: AdamW's second-moment decay.
        clip_norm: the gradient's largest norm; 0 clips nothing.
        checkpoint_every: steps between checkpoints; the last step always has one.
        log_every: steps per row of ``curve.jsonl``; a row is the mean over them.
        max_bad_steps: steps with a loss or gradient that is not finite are skipped and counted; more than so many
            one after the other end the run.
        precision: ``bf16`` computes the loss under autocast (weights and optimiser stay fp32), or ``fp32``.
        threads: CPU threads.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    final_learning_rate: float = 1e-5
    warmup_steps: int = 100
    weight_decay: float = 0.01
    beta2: float = 0.98
    clip_norm: float = 1.0
    checkpoint_every: int = 200
    log_every: int = 10
    max_bad_steps: int = 20
    precision: str = "bf16"
    threads: int = 1

    def __post_init__(self) -> None:
        check_option(self.steps >= 1, "fit.steps", self.steps, "give at least 1")
        check_option(self.learning_rate > 0, "fit.learning_rate", self.learning_rate, "it must be above 0")
        check_option(
            0 <= self.final_learning_rate <= self.learning_rate,
            "fit.final_learning_rate",
            self.final_learning_rate,
            f"it must lie between 0 and learning_rate ({self.learning_rate})",
        )
        check_option(
            0 <= self.warmup_steps <= self.steps,
            "fit.warmup_steps",
            self.warmup_steps,
            f"it must lie between 0 and steps ({self.steps})",
        )
        check_option(self.weight_decay >= 0, "fit.weight_decay", self.weight_decay, "give 0 or more")
        check_option(0 < self.beta2 < 1, "fit.beta2", self.beta2, "it must lie between 0 and 1")
        check_option(self.clip_norm >= 0, "fit.clip_norm", self.clip_norm, "give 0 (no clipping) or more")
        check_option(self.checkpoint_every >= 1, "fit.checkpoint_every", self.checkpoint_every, "give at least 1")
        check_option(self.log_every >= 1, "fit.log_every", self.log_every, "give at least 1")
        check_option(self.max_bad_steps >= 0, "fit.max_bad_steps", self.max_bad_steps, "give 0 or more")
        check_option(self.precision in ("bf16", "fp32"), "fit.precision", self.precision, "choose bf16 or fp32")
        check_option(self.threads >= 1, "fit.threads", self.threads, "give at least 1")
