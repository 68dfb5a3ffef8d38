"""Options of the optimisation loop, free of torch."""

from __future__ import annotations

from dataclasses import dataclass

from .config import Options, option
from .errors import check_option

# Options of a fit under ``fit.`` that may change between a checkpoint and its continuation (`runtime.stage.Resumable`):
# batches are a function of seed and step, so what was seen before the checkpoint stays what it was.
NEUTRAL = tuple(f"fit.{name}" for name in ("checkpoint_every", "log_every", "max_bad_steps", "threads"))
ADJUSTABLE = tuple(
    f"fit.{name}" for name in ("steps", "learning_rate", "final_learning_rate", "warmup_steps", "clip_norm")
)


@dataclass(kw_only=True)
class FitConfig(Options):
    """Optimisation: AdamW, linear warm-up, cosine decay.

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
        max_bad_steps: steps with a loss or gradient that is not finite are skipped and counted; more than this number
            in a row end the run.
        precision: ``bf16`` computes the loss under autocast (weights and optimiser stay fp32), or ``fp32``.
        threads: CPU threads.
    """

    steps: int = option(1000, at_least=1)
    learning_rate: float = option(1e-3, above=0)
    final_learning_rate: float = option(1e-5, at_least=0)
    warmup_steps: int = option(100, at_least=0)
    weight_decay: float = option(0.01, at_least=0)
    beta2: float = option(0.98, above=0, below=1)
    clip_norm: float = option(1.0, at_least=0)
    checkpoint_every: int = option(200, at_least=1)
    log_every: int = option(10, at_least=1)
    max_bad_steps: int = option(20, at_least=0)
    precision: str = option("bf16", one_of=("bf16", "fp32"))
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(
            self.final_learning_rate <= self.learning_rate,
            "fit.final_learning_rate",
            self.final_learning_rate,
            f"it must not exceed learning_rate ({self.learning_rate})",
        )
        check_option(
            self.warmup_steps <= self.steps,
            "fit.warmup_steps",
            self.warmup_steps,
            f"it must not exceed steps ({self.steps})",
        )
