"""SimVQ (arXiv 2411.02038), by vector-quantize-pytorch: K frozen vectors under a learnt linear map.

Loss = ||sg[h] - c||^2 + 0.25 ||h - sg[c]||^2.

D width, K codes, N frames.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor
from vector_quantize_pytorch import SimVQ
from vector_quantize_pytorch.vector_quantize_pytorch import kmeans

from .base import QuantisedFrames, sample_for_kmeans
from .config import QuantiserConfig
from .parametric import ParametricQuantiser


class SimQuantiser(ParametricQuantiser):
    """Nearest neighbour in frozen vectors under one learnt linear map."""

    def __init__(self, config: QuantiserConfig, width: int, frames_per_batch: float) -> None:
        super().__init__(config, width, frames_per_batch)
        self.simvq = SimVQ(width, config.codebook_size, rotation_trick=config.rotation_trick)

    @property
    def codebook(self) -> Tensor:
        """(K, D) float32."""
        codebook: Tensor = self.simvq.codebook
        return codebook

    def start(self, frames_ND: Tensor) -> None:
        """Freeze the centres of k-means over the frames; the map starts as the identity."""
        with torch.autocast(frames_ND.device.type, enabled=False), torch.no_grad():
            reduce = torch.distributed.all_reduce if torch.distributed.is_initialized() else keep
            centres_1KD, _ = kmeans(
                frames_ND.float()[None], self.num_codes, sample_fn=sample_for_kmeans, all_reduce_fn=reduce
            )
            self.simvq.frozen_codebook.copy_(centres_1KD[0])
            self.simvq.code_transform.weight.copy_(torch.eye(self.width))
            self.initted.fill_(True)

    def quantise_some(self, frames_ND: Tensor) -> QuantisedFrames:
        """Nearest mapped vectors, and the loss of both sides."""
        quantised_1ND, codes_1N, loss = self.simvq(frames_ND[None])
        return QuantisedFrames(quantised_1ND[0], codes_1N[0], loss)


def keep(_: Tensor) -> None:
    """All-reduce of a single rank."""
