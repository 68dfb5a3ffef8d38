"""The noise that a mel is made from: a fixed sequence over the frames, whatever else is made and in which pieces.

Shapes: F mel frames, M mel bins.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NOISE_SEED = 42  # as in the paper's released decoder


class Noise:
    """Standard normal noise, drawn in order of time: a frame's depends on its position alone."""

    def __init__(self, num_mels: int) -> None:
        self.num_mels = num_mels
        self.generator = np.random.default_rng(NOISE_SEED)

    def draw(self, frames: int) -> Tensor:
        """The noise (F, M) of the next ``frames`` frames."""
        return torch.from_numpy(self.generator.standard_normal((frames, self.num_mels), dtype=np.float32))
