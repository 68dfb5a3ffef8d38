"""Codebook of exponential moving averages (EMA) with dead-code restart, by vector-quantize-pytorch; the default.

Equations (GLM-4-Voice report, section 3.1, and Jukebox for the restart): code = argmin ||h - c||^2; codebook = running
sum of its vectors / running count, decay 0.99; commitment loss = mean ||h - sg[c]||^2; gradients pass straight through.

D width, K codes, N frames.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor
from vector_quantize_pytorch import VectorQuantize

from .base import QuantisedFrames, Quantiser, sample_for_kmeans, sample_frames
from .config import QuantiserConfig


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

    def load_codebook(self, codebook_KD: Tensor) -> None:
        """Load a trained codebook; the running counts start at the mean use."""
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
