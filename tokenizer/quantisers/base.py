"""Contract of a quantiser: vectors to codes and back, in training with a commitment loss.

With several ranks every draw is made once for all, and running sums are of all ranks together: the ranks' codebooks
stay equal to the bit, whatever share of the frames a rank has (none at all, too).

B batch, T tokens, D width, K codes, N frames.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from runtime.data_parallel import num_ranks, rank

from .config import QuantiserConfig
from .table import QUANTISERS


class Quantised(NamedTuple):
    """The result of quantising in training.

    Attributes:
        hidden: (B, T, D) codebook vectors, zero at padding; gradients flow to the input.
        codes: (B, T) int64.
        commitment: scalar, mean squared distance to the codes over valid frames.
    """

    hidden: Tensor
    codes: Tensor
    commitment: Tensor


class QuantisedFrames(NamedTuple):
    """`Quantised` of frames without batch or padding: hidden (N, D), codes (N,), commitment."""

    hidden: Tensor
    codes: Tensor
    commitment: Tensor


class Quantiser(nn.Module, ABC):
    """Vectors to codes and back; always computed in float32.

    Attributes:
        num_codes: K.
        has_free_codes: whether codes are vectors that may lie anywhere (not combinations of rounded numbers).
    """

    has_free_codes = True

    def __init__(self, num_codes: int) -> None:
        super().__init__()
        self.num_codes = num_codes

    @property
    @abstractmethod
    def codebook(self) -> Tensor:
        """(K, D) float32."""

    @property
    @abstractmethod
    def use(self) -> Tensor:
        """(K,) running count of frames a step for each code."""

    @property
    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it was started from frames."""

    @abstractmethod
    def start(self, frames_ND: Tensor) -> None:
        """Fit the start to frames (those of all ranks together)."""

    @abstractmethod
    def quantise(self, frames_ND: Tensor) -> QuantisedFrames:
        """`forward` of the valid frames alone, in float32; there may be none."""

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor) -> Quantised:
        """Quantise in training: valid frames (``mask_BT`` true and finite) update the state.

        The library never sees a mask: it would solve equations of shapes for each new (B, T), 65 ms on a CPU.
        """
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            hidden_BTD = hidden_BTD.float()
            mask_BT = mask_BT & hidden_BTD.detach().isfinite().all(-1)
            found = self.quantise(hidden_BTD[mask_BT])
            quantised_BTD = torch.zeros_like(hidden_BTD).masked_scatter(mask_BT[..., None], found.hidden)
            codes_BT = torch.zeros_like(mask_BT, dtype=torch.long).masked_scatter(mask_BT, found.codes)
            return Quantised(quantised_BTD, codes_BT, found.commitment)

    def codes(self, hidden_BTD: Tensor) -> Tensor:
        """(..., D) to the nearest codes (...,) int64, as argmax of h c - ||c||^2 / 2 (cheaper than distances)."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            codebook_KD = self.codebook
            norms_K = torch.linalg.vector_norm(codebook_KD, dim=-1)  # needs no copy of the codebook, as a square would
            score = nn.functional.linear(hidden_BTD.float(), codebook_KD, -0.5 * norms_K.square())
        return score.argmax(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes (...,) to their vectors (..., D)."""
        return self.codebook[codes]

    def deciding_state(self) -> dict[str, Tensor]:
        """The tensors that decide which code a vector gets, for the fingerprint."""
        return {"codebook": self.codebook}


def make_quantiser(config: QuantiserConfig, width: int, frames_per_batch: float = 1000.0) -> Quantiser:
    """The quantiser of ``config.kind``.

    Args:
        config: the options.
        width: D.
        frames_per_batch: valid frames of a training batch, all ranks together; scales the running use of the codes.
    """
    kind = QUANTISERS[config.kind]
    quantiser = pkgutil.resolve_name(kind.quantiser)(config, width, frames_per_batch)
    assert isinstance(quantiser, Quantiser)
    return quantiser


def sample_frames(frames_ND: Tensor, num: int) -> Tensor:
    """At most ``num`` frames, drawn from those of all ranks without putting back; the same on each rank."""
    counts = torch.tensor([len(frames_ND)], device=frames_ND.device)
    before = 0
    if num_ranks() > 1:
        everywhere = [torch.empty_like(counts) for _ in range(num_ranks())]
        torch.distributed.all_gather(everywhere, counts)
        counts = torch.cat(everywhere)
        before = int(counts[: rank()].sum())
    chosen = torch.randperm(int(counts.sum()))[:num].to(frames_ND.device)
    if num_ranks() == 1:
        return frames_ND[chosen]
    torch.distributed.broadcast(chosen, src=0)
    drawn_ND = frames_ND.new_zeros(len(chosen), frames_ND.shape[1])
    is_here = (chosen >= before) & (chosen < before + len(frames_ND))
    drawn_ND[is_here] = frames_ND[chosen[is_here] - before]
    torch.distributed.all_reduce(drawn_ND)  # each frame is on one rank, the others add zeros
    return drawn_ND


def sample_for_kmeans(frames_1ND: Tensor, num: int) -> Tensor:
    """Just ``num`` frames of all ranks, as the library's k-means asks for them; repeated where there are fewer."""
    drawn_ND = sample_frames(frames_1ND[0], num)
    if not len(drawn_ND):
        raise ValueError("a codebook cannot be made of no frames")
    return drawn_ND[torch.arange(num, device=drawn_ND.device) % len(drawn_ND)][None]
