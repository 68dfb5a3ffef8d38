"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from .loop_config import LoopConfig


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up from 0, then linear, cosine or no decay to the final rate at the last step."""
    peak, final = config.learning_rate, config.final_learning_rate
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return peak
    progress = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    left = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return final + (peak - final) * max(0.0, left)
