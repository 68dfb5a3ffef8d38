"""Random changes of mel frames in training: vocal-tract warp, speed, spectral tilt, SpecAugment masks (1904.08779).

All draws come from torch's global generator on the CPU, so that a resumed fit repeats them.

B batch, M mel bands, F mel frames.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from corpus.audio.mel import hertz_to_mel, mel_to_hertz
from corpus.audio.mel_config import LogMelConfig

from .config import AugmentConfig


def augment(
    mel_BMF: Tensor, lengths_B: Tensor, config: AugmentConfig, mel: LogMelConfig, frames_per_token: int
) -> tuple[Tensor, Tensor]:
    """Changed frames and token counts of a batch; F may change (it stays a multiple of ``frames_per_token``)."""
    if config.stretch:
        factor = 1 + config.stretch * float(2 * torch.rand(()) - 1)
        mel_BMF, lengths_B = stretch(mel_BMF, lengths_B, factor, frames_per_token)
    if config.warp:
        factors_B = 1 + config.warp * (2 * torch.rand(len(mel_BMF)) - 1)
        mel_BMF = torch.bmm(warp_matrices(factors_B, mel).to(mel_BMF), mel_BMF)
    if config.tilt:
        slope_BM = torch.linspace(-1, 1, mel_BMF.shape[1]) * draw(len(mel_BMF), 1, config.tilt)
        mel_BMF = mel_BMF + (slope_BM + draw(len(mel_BMF), 1, config.tilt))[:, :, None].to(mel_BMF)
    for _ in range(config.frequency_masks):
        mel_BMF = mel_BMF.masked_fill(bands(mel_BMF, 1, config.frequency_width)[:, :, None], 0.0)
    for _ in range(config.time_masks):
        mel_BMF = mel_BMF.masked_fill(bands(mel_BMF, 2, config.time_width)[:, None, :], 0.0)
    return mel_BMF, lengths_B


def draw(*shape_and_limit: float) -> Tensor:
    """Uniform numbers between -limit and limit; the arguments are the shape, then the limit."""
    *shape, limit = shape_and_limit
    return limit * (2 * torch.rand([int(size) for size in shape]) - 1)


def stretch(mel_BMF: Tensor, lengths_B: Tensor, factor: float, frames_per_token: int) -> tuple[Tensor, Tensor]:
    """Change the duration by about ``factor`` (whole tokens), by linear interpolation in time."""
    tokens = mel_BMF.shape[2] // frames_per_token
    new_tokens = max(1, round(tokens * factor))
    stretched = torch.nn.functional.interpolate(mel_BMF, size=new_tokens * frames_per_token, mode="linear")
    return stretched, (lengths_B * new_tokens / tokens).ceil().long().clamp(1, new_tokens)


def warp_matrices(factors_B: Tensor, config: LogMelConfig) -> Tensor:
    """(B, M, M): row m takes the band whose centre is ``factor`` times band m's, between two bands linearly."""
    top = float(hertz_to_mel(np.array(config.sample_rate / 2)))
    centres = mel_to_hertz(np.linspace(0, top, config.num_mels + 2)[1:-1])
    wanted_BM = hertz_to_mel(factors_B.numpy()[:, None] * centres) / top * (config.num_mels + 1) - 1
    wanted = torch.from_numpy(wanted_BM).clamp(0, config.num_mels - 1)
    distance_BMM = (wanted[:, :, None] - torch.arange(config.num_mels)).abs()
    return (1 - distance_BMM).clamp_min(0).float()


def bands(mel_BMF: Tensor, dim: int, width: int) -> Tensor:
    """(B, size of ``dim``) bool: one random run of up to ``width`` places a row."""
    size = mel_BMF.shape[dim]
    lengths_B1 = (torch.rand(len(mel_BMF), 1) * (min(width, size) + 1)).floor()
    starts_B1 = (torch.rand(len(mel_BMF), 1) * (size - lengths_B1 + 1)).floor()
    places = torch.arange(size)
    return ((places >= starts_B1) & (places < starts_B1 + lengths_B1)).to(mel_BMF.device)
