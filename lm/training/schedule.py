"""The learning rate as a function of the step."""

from __future__ import annotations

import math

from .loop_config import LoopConfig


def learning_rate(step: int, config: LoopConfig) -> float:
    """Linear warm-up from 0, then the schedule, which is at the final rate at the last step.

    ``linear`` and ``cosine`` fall all the way; ``wsd`` (warm-up, stable, decay; arXiv 2404.06395) stays at the peak and
    falls over the last ``decay_steps`` in the shape ``decay_shape``; ``constant`` stays.
    """
    peak, final = config.learning_rate, config.final_learning_rate
    if step < config.warmup_steps:
        return peak * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return peak
    if config.schedule == "wsd":
        shape, progress = config.decay_shape, 1 - (config.steps - 1 - step) / config.num_decay_steps
    else:
        shape = config.schedule
        progress = (step - config.warmup_steps) / max(1, config.steps - 1 - config.warmup_steps)
    return final + (peak - final) * _remaining(shape, min(1.0, max(0.0, progress)))


def _remaining(shape: str, progress: float) -> float:
    """The remaining share of the decay: 1 at its beginning, 0 at its end."""
    if shape == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - math.sqrt(progress) if shape == "sqrt" else 1 - progress
