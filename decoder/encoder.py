"""The token encoder: speech tokens and a speaker -> the mean of the mel, exactly 8 frames per token.

Its prior loss is the squared distance between that mean and the mel, as in Grad-TTS (arXiv 2105.06337) and
Matcha-TTS (arXiv 2309.03199); with one length rule (8 frames of 10 ms per token of 80 ms) no alignment is needed.

Shapes: B batch, T tokens, F = 8 T mel frames, M mel bins, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corpus.token_time import FRAMES_PER_TOKEN

from .backbone import Backbone
from .config import BackboneConfig


class TokenEncoder(nn.Module):
    """Embeddings of token and speaker, a block-causal backbone at 12.5 Hz, a head of 8 mel frames per token."""

    def __init__(
        self, config: BackboneConfig, *, codebook_size: int, num_speakers: int, num_mels: int, block: int, past: int
    ) -> None:
        super().__init__()
        self.num_mels = num_mels
        self.token_embedding = nn.Embedding(codebook_size, config.width)
        self.speaker_embedding = nn.Embedding(num_speakers, config.width)
        self.backbone = Backbone(config, block=block, past=past)
        self.mean_head = nn.Linear(config.width, FRAMES_PER_TOKEN * num_mels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Embeddings of unit size; the first mean is near zero, the average of a normalised mel."""
        nn.init.normal_(self.token_embedding.weight)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        nn.init.normal_(self.mean_head.weight, std=0.02)
        nn.init.zeros_(self.mean_head.bias)

    def forward(self, tokens_BT: Tensor, speakers_B: Tensor, is_real_BT: Tensor) -> Tensor:
        """The mean of the normalised mel (B, 8 T, M)."""
        x_BTD = self.token_embedding(tokens_BT) + self.speaker_embedding(speakers_B)[:, None]
        x_BTD = self.backbone(x_BTD, is_real_BT)
        return self.mean_head(x_BTD).unflatten(-1, (FRAMES_PER_TOKEN, self.num_mels)).flatten(1, 2)


def prior_loss(mean_BFM: Tensor, mel_BFM: Tensor, is_real_BF: Tensor) -> Tensor:
    """Mean squared distance between mean and mel over the real frames."""
    return masked_mean((mean_BFM.float() - mel_BFM).square().mean(-1), is_real_BF)


def masked_mean(value_BF: Tensor, is_real_BF: Tensor) -> Tensor:
    """The mean of ``value_BF`` where ``is_real_BF``."""
    weight_BF = is_real_BF.to(value_BF.dtype)
    return (value_BF * weight_BF).sum() / weight_BF.sum().clamp(min=1.0)


def frames_of_tokens(is_real_BT: Tensor) -> Tensor:
    """(B, 8 T) from (B, T): each token's 8 frames are as real as the token."""
    return torch.repeat_interleave(is_real_BT, FRAMES_PER_TOKEN, dim=1)
