"""Griffin-Lim: the vocoder without training, a fallback and a baseline for the trained one.

The mel filters are inverted by their pseudo-inverse and a few multiplicative updates that keep magnitudes positive
(Lee & Seung 2001); the phase comes from the fast Griffin-Lim of Perraudin et al. 2013. Framing as in
`corpus.audio.mel`.

Shapes: B batch, F mel frames, M mel bins, N frequency bins, W window, S = F * hop samples.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from corpus.audio.mel import LogMel

from .overlap import overlap_add

TINY = 1e-8


@torch.inference_mode()
def griffin_lim(
    mel_BMF: Tensor, log_mel: LogMel, *, iterations: int = 32, momentum: float = 0.99, seed: int = 0
) -> Tensor:
    """Waveform (B, F * hop) whose log-mel is near ``mel_BMF`` (B, M, F), as normalised by ``log_mel``.

    Args:
        mel_BMF: the mel.
        log_mel: the front end that made it.
        iterations: of the phase; each costs two Fourier transforms.
        momentum: how far each iteration overshoots; 0 is the classical algorithm, 0.99 usual.
        seed: of the first, random phase.
    """
    magnitude_BFN = magnitudes(mel_BMF, log_mel)
    generator = torch.Generator().manual_seed(seed)
    angle = 2 * torch.pi * torch.rand(magnitude_BFN.shape, generator=generator).to(magnitude_BFN.device)
    spectrum = torch.polar(magnitude_BFN, angle)
    before = torch.zeros_like(spectrum)
    for _ in range(iterations):
        consistent = analyse(synthesise(spectrum, log_mel), log_mel)
        leap = consistent + momentum * (consistent - before)
        before = consistent
        spectrum = magnitude_BFN * leap / leap.abs().clamp(min=TINY)
    return synthesise(spectrum, log_mel)


def magnitudes(mel_BMF: Tensor, log_mel: LogMel, *, updates: int = 20) -> Tensor:
    """Magnitudes (B, F, N), none negative, whose mel is near ``mel_BMF``."""
    mel_BFM = log_mel.natural_log(mel_BMF.float()).exp().transpose(1, 2)
    filters_NM = log_mel.filters
    magnitude_BFN = (mel_BFM @ torch.linalg.pinv(filters_NM)).clamp(min=TINY)
    wanted_BFN = mel_BFM @ filters_NM.T
    for _ in range(updates):
        magnitude_BFN = magnitude_BFN * wanted_BFN / (magnitude_BFN @ filters_NM @ filters_NM.T).clamp(min=TINY)
    return magnitude_BFN


def analyse(audio_BS: Tensor, log_mel: LogMel) -> Tensor:
    """Spectra (B, F, N) of the windows that the mel is made of."""
    config = log_mel.config
    padded = F.pad(audio_BS, (log_mel.margin, log_mel.margin))
    return torch.fft.rfft(padded.unfold(1, config.win, config.hop) * log_mel.hann, n=config.n_fft)


def synthesise(spectrum_BFN: Tensor, log_mel: LogMel) -> Tensor:
    """The waveform (B, S) whose windows are nearest to the given spectra (least squares)."""
    config, frames = log_mel.config, spectrum_BFN.shape[1]
    windows_BFW = torch.fft.irfft(spectrum_BFN, n=config.n_fft)[..., : config.win] * log_mel.hann
    weights_BFW = log_mel.hann.square().expand(1, frames, -1)
    summed = [overlap_add(part, config.hop) for part in (windows_BFW, weights_BFW)]
    return (summed[0] / summed[1].clamp(min=TINY))[:, log_mel.margin : log_mel.margin + frames * config.hop]
