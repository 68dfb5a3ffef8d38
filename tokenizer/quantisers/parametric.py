"""Base of quantisers whose codebook is a function of learnt weights: gradients alone keep the ranks' weights equal.

D width, K codes, N frames.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor

from .base import QuantisedFrames, Quantiser
from .config import QuantiserConfig


class ParametricQuantiser(Quantiser):
    """Base of FSQ and SimVQ, whose codebook is a function of learnt weights: running use of the codes, empty batches.

    Buffers:
        counts: (K,) running count of frames a step for each code, all ranks together.
        initted: whether it was started from frames.
    """

    counts: Tensor
    initted: Tensor

    def __init__(self, config: QuantiserConfig, width: int, frames_per_batch: float) -> None:
        super().__init__(config.codebook_size)
        self.decay, self.width = config.decay, width
        mean_use = frames_per_batch / config.codebook_size
        self.register_buffer("counts", torch.full((config.codebook_size,), mean_use))
        self.register_buffer("initted", torch.tensor(False))

    @property
    def use(self) -> Tensor:
        """(K,) running count of frames a step for each code."""
        return self.counts

    @property
    def is_ready(self) -> bool:
        """Whether it was started from frames."""
        return bool(self.initted)

    def quantise(self, frames_ND: Tensor) -> QuantisedFrames:
        """Quantise; in training mode the codes are counted."""
        if len(frames_ND):
            found = self.quantise_some(frames_ND)
        else:
            codes_N = torch.zeros(0, dtype=torch.long, device=frames_ND.device)
            found = QuantisedFrames(frames_ND, codes_N, frames_ND.sum())
        if self.training:
            self.count(found.codes)
        return found

    def quantise_some(self, frames_ND: Tensor) -> QuantisedFrames:
        """`quantise` of at least one frame."""
        raise NotImplementedError

    def count(self, codes_N: Tensor) -> None:
        """Take the codes of a step (all ranks together) into the running use."""
        counts = torch.bincount(codes_N, minlength=self.num_codes).to(self.counts)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(counts)
        self.counts.lerp_(counts, 1 - self.decay)
