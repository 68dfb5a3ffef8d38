"""The bottleneck's contract, and its default: an EMA codebook with dead-code restart, by vector-quantize-pytorch.

Equations (GLM-4-Voice report, section 3.1, and Jukebox for the restart): code = argmin ||h - c||^2; codebook = running
sum of its vectors / running count, decay 0.99; commitment loss = mean ||h - sg[c]||^2; gradients pass straight through.

With several ranks, counts and sums are of all ranks together, and every draw is made once for all: the ranks' codebooks
stay equal to the bit, whatever share of the frames a rank has (none at all, too).

B batch, T tokens, D width, K codes, N frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from .config import QuantiserConfig


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
    """The same of frames without batch or padding: hidden (N, D), codes (N,), commitment."""

    hidden: Tensor
    codes: Tensor
    commitment: Tensor


class Quantiser(nn.Module, ABC):
    """Vectors to codes and back; always computed in float32.

    Attributes:
        num_codes: K.
    """

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
        """What decides which code a vector gets, for the fingerprint."""
        return {"codebook": self.codebook}


class EmaQuantiser(Quantiser):
    """Nearest neighbour in a codebook of running means.

    Args:
        config: the options.
        width: D.
        frames_per_batch: valid frames of a training batch, all ranks together; scales the dead-code threshold.

    Buffers (of the library's codebook):
        initted: whether the k-means was run.
        cluster_size: (1, K) running count of frames a step for each code.
        embed_avg: (1, K, D) running sum of frames.
        embed: (1, K, D) the codebook, embed_avg / cluster_size.
    """

    def __init__(self, config: QuantiserConfig, width: int, frames_per_batch: float = 1000.0) -> None:
        from vector_quantize_pytorch import VectorQuantize

        super().__init__(config.codebook_size)
        self.mean_use = frames_per_batch / config.codebook_size
        self.restart_share = config.restart_share
        self.frames_per_batch = frames_per_batch
        self.vq = VectorQuantize(
            dim=width,
            codebook_size=config.codebook_size,
            decay=config.decay,
            commitment_weight=1.0,
            kmeans_init=True,
            threshold_ema_dead_code=0,  # the library's restart waits for ever for a rank without frames: ours is below
            rotation_trick=config.rotation_trick,
            sync_codebook=torch.distributed.is_initialized(),  # never left to the library, which caches its guess
        )
        self.vq._codebook.sample_fn = sample_for_kmeans

    @property
    def codebook(self) -> Tensor:
        """(K, D) float32."""
        codebook: Tensor = self.vq._codebook.embed[0]
        return codebook

    @property
    def use(self) -> Tensor:
        """(K,) running count of frames a step for each code."""
        counts: Tensor = self.vq._codebook.cluster_size[0]
        return counts

    @property
    def is_ready(self) -> bool:
        """Whether the codebook was made from frames."""
        return bool(self.vq._codebook.initted)

    def start(self, frames_ND: Tensor) -> None:
        """Make the codebook by k-means over frames."""
        with torch.autocast(frames_ND.device.type, enabled=False), torch.no_grad():
            self.vq._codebook.init_embed_(frames_ND.float()[None])
            # init counts the frames of all batches given: scale to one batch, as the running averages are
            scale = self.vq._codebook.cluster_size.sum() / max(1.0, float(self.frames_per_batch))
            self.vq._codebook.cluster_size /= scale
            self.vq._codebook.embed_avg /= scale

    def adopt(self, codebook_KD: Tensor) -> None:
        """Take a trained codebook; the running counts start at the mean use."""
        book = self.vq._codebook
        book.embed.copy_(codebook_KD[None])
        book.cluster_size.fill_(self.mean_use)
        book.embed_avg.copy_(codebook_KD[None] * self.mean_use)
        book.initted.fill_(True)

    def quantise(self, frames_ND: Tensor) -> QuantisedFrames:
        """Nearest codes; in training mode the running means move and dead codes are restarted."""
        if len(frames_ND):
            hidden_1ND, codes_1N, commitment = self.vq(frames_ND[None])
            found = QuantisedFrames(hidden_1ND[0], codes_1N[0], commitment.reshape(()))
        else:  # the other ranks' frames count all the same
            masked = torch.zeros(1, 1, dtype=torch.bool, device=frames_ND.device)
            self.vq(frames_ND.new_zeros(1, 1, frames_ND.shape[1]), mask=masked)
            found = QuantisedFrames(frames_ND, masked.new_zeros(0, dtype=torch.long), frames_ND.sum())
        if self.training and self.restart_share:
            self.restart(frames_ND.detach())
        return found

    def restart(self, frames_ND: Tensor) -> None:
        """Put the codes used less than the threshold at random frames of all ranks, the least used first.

        Where there are fewer frames than such codes, the others wait for the next step. A restarted code gets half the
        mean use to live on: with the threshold itself it would be restarted again at the next step that misses it.
        """
        book = self.vq._codebook
        num_dead = int((self.use < self.restart_share * self.mean_use).sum())
        if not num_dead:
            return
        chosen_ND = sample_frames(frames_ND, num_dead)
        dead_N = self.use.argsort(stable=True)[: len(chosen_ND)]
        book.embed[0, dead_N] = chosen_ND
        book.cluster_size[0, dead_N] = 0.5 * self.mean_use
        book.embed_avg[0, dead_N] = chosen_ND * (0.5 * self.mean_use)


def sample_frames(frames_ND: Tensor, num: int) -> Tensor:
    """At most ``num`` frames, drawn from those of all ranks without putting back; the same on each rank."""
    is_many = torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1
    counts = torch.tensor([len(frames_ND)], device=frames_ND.device)
    before = 0
    if is_many:
        everywhere = [torch.empty_like(counts) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(everywhere, counts)
        counts = torch.cat(everywhere)
        before = int(counts[: torch.distributed.get_rank()].sum())
    chosen = torch.randperm(int(counts.sum()))[:num].to(frames_ND.device)
    if not is_many:
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


def make_quantiser(config: QuantiserConfig, width: int, frames_per_batch: float = 1000.0) -> Quantiser:
    """The quantiser of ``config.kind``; arguments as those of `EmaQuantiser`."""
    if config.kind == "vq":
        return EmaQuantiser(config, width, frames_per_batch)
    from .fsq_simvq import FiniteScalarQuantiser, SimQuantiser

    kinds = {"fsq": FiniteScalarQuantiser, "simvq": SimQuantiser}
    return kinds[config.kind](config, width, frames_per_batch)
