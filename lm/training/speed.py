"""Training speed: tokens and model operations a second, and their share of the peak; validation and saving excluded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from .accelerators import ACCELERATORS
from .config import LmTrainConfig
from .processes import Processes


class SpeedMeter:
    """Meter of the whole run's tokens over the seconds spent training.

    Args:
        config: for the model's operations per token.
        vocabulary_size: padded number of ids.
        processes: for their number and the device.
    """

    def __init__(self, config: LmTrainConfig, vocabulary_size: int, processes: Processes) -> None:
        self.flops_per_token = config.model.flops_per_token(vocabulary_size, config.train.sequence_length)
        self.num_processes = torch.distributed.get_world_size()
        self.peak_flops = 1e12 * peak_tflops(config.train.peak_tflops) * self.num_processes
        self.started = time.monotonic()
        self.tokens = 0
        self.all_tokens, self.all_seconds = 0, 0.0

    def count(self, tokens: int) -> None:
        """Add the tokens of a step."""
        self.tokens += tokens

    def take(self) -> dict[str, float]:
        """The speed since the last call: tokens of the run, TFLOP of each process, and its share of the peak."""
        now = time.monotonic()
        seconds = max(1e-9, now - self.started)
        speed = self.tokens / seconds
        self.all_tokens, self.all_seconds = self.all_tokens + self.tokens, self.all_seconds + seconds
        self.started, self.tokens = now, 0
        timing = {
            "tokens_per_second": speed,
            "model_tflops_per_process": 1e-12 * speed * self.flops_per_token / self.num_processes,
        }
        if self.peak_flops:
            timing["model_flops_utilisation"] = speed * self.flops_per_token / self.peak_flops
        return timing

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out the time spent inside."""
        before = time.monotonic()
        try:
            yield
        finally:
            self.started += time.monotonic() - before

    @property
    def mean_tokens_per_second(self) -> float:
        """Over this process's life."""
        return self.all_tokens / self.all_seconds if self.all_seconds else 0.0


def peak_tflops(given: float) -> float:
    """The accelerator's peak: as given, else by its name, else 0 (unknown)."""
    if given or not torch.cuda.is_available():
        return given
    name = torch.cuda.get_device_name()
    return next((kind.tflops for part, kind in ACCELERATORS.items() if part in name), 0.0)
