"""Quantisers whose codebook is a function of learnt weights, by vector-quantize-pytorch: FSQ and SimVQ.

Finite scalar quantisation (arXiv 2309.15505): a projection of d numbers, each bounded and rounded to one of L_i levels;
code = the mixed-radix number of the levels; the codebook is the projection back of all level combinations. There is
no commitment loss. SimVQ (arXiv 2411.02038): K frozen vectors under a learnt linear map; loss = ||sg[h] - c||^2 +
0.25 ||h - sg[c]||^2. Neither has running means of vectors, so gradients alone keep the ranks' weights equal.

B batch, T tokens, D width, K codes, N frames, d numbers of FSQ's projection.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn

from .config import QuantiserConfig
from .quantiser import QuantisedFrames, Quantiser, sample_for_kmeans


class ImplicitQuantiser(Quantiser):
    """What FSQ and SimVQ share: the running use of the codes, and that padding is left out before the library sees it.

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


class FiniteScalarQuantiser(ImplicitQuantiser):
    """FSQ between two learnt projections."""

    def __init__(self, config: QuantiserConfig, width: int, frames_per_batch: float) -> None:
        from vector_quantize_pytorch import FSQ

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


class SimQuantiser(ImplicitQuantiser):
    """Nearest neighbour in frozen vectors under one learnt linear map."""

    def __init__(self, config: QuantiserConfig, width: int, frames_per_batch: float) -> None:
        from vector_quantize_pytorch import SimVQ

        super().__init__(config, width, frames_per_batch)
        self.simvq = SimVQ(width, config.codebook_size, rotation_trick=config.rotation_trick)

    @property
    def codebook(self) -> Tensor:
        """(K, D) float32."""
        codebook: Tensor = self.simvq.codebook
        return codebook

    def start(self, frames_ND: Tensor) -> None:
        """Freeze the centres of k-means over the frames; the map starts as the identity."""
        from vector_quantize_pytorch.vector_quantize_pytorch import kmeans

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
    """What all-reduce is on one rank."""
