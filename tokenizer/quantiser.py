"""The VQ bottleneck: EMA codebook with dead-code restart, by vector-quantize-pytorch; always computed in float32.

Equations (GLM-4-Voice report, section 3.1, and Jukebox for the restart): code = argmin ||h - c||^2; codebook = running
sum of its vectors / running count, decay 0.99; commitment loss = mean ||h - sg[c]||^2; gradients pass straight through.

B batch, T tokens, D width, K codes, N frames.
"""

from __future__ import annotations

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


class Quantiser(nn.Module):
    """Nearest-neighbour quantiser.

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

        super().__init__()
        mean_use = frames_per_batch / config.codebook_size
        self.vq = VectorQuantize(
            dim=width,
            codebook_size=config.codebook_size,
            decay=config.decay,
            commitment_weight=1.0,
            kmeans_init=True,
            threshold_ema_dead_code=config.restart_share * mean_use,
            rotation_trick=config.rotation_trick,
            sync_codebook=torch.distributed.is_initialized(),  # never left to the library, which caches its guess
        )
        # A restarted code gets half the mean use to live on: with the library's default, the threshold itself, it
        # would be restarted again at the next step that misses it.
        self.vq._codebook.reset_cluster_size = 0.5 * mean_use
        self.num_codes = config.codebook_size
        self.frames_per_batch = frames_per_batch

    @property
    def codebook(self) -> Tensor:
        """(K, D) float32."""
        codebook: Tensor = self.vq._codebook.embed[0]
        return codebook

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

    def forward(self, hidden_BTD: Tensor, mask_BT: Tensor) -> Quantised:
        """Quantise in training: valid frames (``mask_BT`` true and finite) update the codebook."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            hidden_BTD = hidden_BTD.float()
            mask_BT = mask_BT & hidden_BTD.detach().isfinite().all(-1)
            hidden_BTD = hidden_BTD.masked_fill(~mask_BT[..., None], 0.0)  # masked NaN would still reach the sums
            quantised_BTD, codes_BT, commitment = self.vq(hidden_BTD, mask=mask_BT)
        return Quantised(quantised_BTD, codes_BT, commitment.reshape(()))

    def codes(self, hidden_BTD: Tensor) -> Tensor:
        """(..., D) to the nearest codes (...,) int64, as argmax of h c - ||c||^2 / 2 (cheaper than distances)."""
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            score = torch.matmul(hidden_BTD.float(), self.codebook.T) - 0.5 * self.codebook.square().sum(-1)
        return score.argmax(-1)

    def vectors(self, codes: Tensor) -> Tensor:
        """Codes (...,) to their vectors (..., D)."""
        return self.codebook[codes]
