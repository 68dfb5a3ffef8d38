"""Finite scalar quantisation (FSQ, arXiv 2309.15505), by vector-quantize-pytorch.

A projection of d numbers, each bounded and rounded to one of L_i levels; code = the mixed-radix number of the levels;
the codebook is the projection back of all level combinations. There is no commitment loss.

D width, K codes, N frames, d numbers of the projection.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ

from .base import QuantisedFrames
from .config import QuantiserConfig
from .parametric import ParametricQuantiser


class FiniteScalarQuantiser(ParametricQuantiser):
    """FSQ between two learnt projections."""

    has_free_codes = False

    def __init__(self, config: QuantiserConfig, width: int, frames_per_batch: float) -> None:
        super().__init__(config, width, frames_per_batch)
        self.fsq = FSQ(config.fsq_levels, dim=width)
        if not self.fsq.has_projections:  # as many levels as the width has numbers: the library would leave them out
            self.fsq.project_in, self.fsq.project_out = nn.Linear(width, width), nn.Linear(width, width)

    @property
    def codebook(self) -> Tensor:
        """(K, D) float32."""
        codebook: Tensor = self.fsq.project_out(self.fsq.implicit_codebook)
        return codebook

    def start(self, frames_ND: Tensor) -> None:
        """Project on the frames' d directions of largest variance, scaled to fill the levels, and back."""
        with torch.autocast(frames_ND.device.type, enabled=False), torch.no_grad():
            moments = torch.cat([torch.ones_like(frames_ND[:, :1]), frames_ND], dim=1).double()
            moments = moments.T @ moments  # count, sums and products, so that ranks can be added up
            if torch.distributed.is_initialized():
                torch.distributed.all_reduce(moments)
            mean_D = moments[0, 1:] / moments[0, 0]
            covariance_DD = moments[1:, 1:] / moments[0, 0] - torch.outer(mean_D, mean_D)
            values, vectors = torch.linalg.eigh(covariance_DD)
            spread_d = values[-self.fsq.codebook_dim :].clamp_min(1e-10).sqrt()
            axes_Dd = vectors[:, -self.fsq.codebook_dim :]
            self.fsq.project_in.weight.copy_((axes_Dd / spread_d).T)
            self.fsq.project_in.bias.copy_(-(mean_D @ axes_Dd) / spread_d)
            self.fsq.project_out.weight.copy_(axes_Dd * spread_d)
            self.fsq.project_out.bias.copy_(mean_D)
            self.initted.fill_(True)

    def quantise_some(self, frames_ND: Tensor) -> QuantisedFrames:
        """Round; FSQ needs no commitment loss."""
        quantised_1ND, codes_1N = self.fsq(frames_ND[None])
        return QuantisedFrames(quantised_1ND[0], codes_1N[0].long(), frames_ND.new_zeros(()))

    def codes(self, hidden_BTD: Tensor) -> Tensor:
        """(..., D) to codes (...,) int64."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            projected = self.fsq.project_in(hidden_BTD.float())
            return self.fsq.codes_to_indices(self.fsq.quantize(projected)).long()

    def deciding_state(self) -> dict[str, Tensor]:
        """The projection decides the code, the codebook what it stands for."""
        weight_and_bias = {f"project_in.{name}": value for name, value in self.fsq.project_in.state_dict().items()}
        return {"codebook": self.codebook} | weight_and_bias
