"""What a waveform is compared by: log-mel and short-time spectra at several resolutions (no phase).

Spectral convergence and log-magnitude distance are those of Parallel WaveGAN, arXiv 1910.11480, section 2.2.

Shapes: B batch, S samples.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from corpus.audio.mel import LogMel

RESOLUTIONS = (256, 512, 1024)  # window lengths in samples; the hop is a quarter
FLOOR = 1e-4  # of magnitudes before the logarithm: about the noise of 16-bit samples


class SpectralLoss(nn.Module):
    """Multi-resolution short-time Fourier loss plus ``mel_weight`` times the log-mel's absolute distance."""

    def __init__(self, log_mel: LogMel, *, mel_weight: float = 5.0) -> None:
        super().__init__()
        self.log_mel, self.mel_weight = log_mel, mel_weight
        for length in RESOLUTIONS:
            self.register_buffer(f"window_{length}", torch.hann_window(length), persistent=False)

    def forward(self, made_BS: Tensor, true_BS: Tensor) -> dict[str, Tensor]:
        """The terms, all float32 scalars: ``loss``, ``mel``, ``spectrum``, ``convergence``."""
        with torch.autocast(made_BS.device.type, enabled=False):
            made_BS, true_BS = made_BS.float(), true_BS.float()
            distances = [self.distance(made_BS, true_BS, length) for length in RESOLUTIONS]
            convergence = torch.stack([pair[0] for pair in distances]).mean()
            spectrum = torch.stack([pair[1] for pair in distances]).mean()
            mel = (self.log_mel(made_BS) - self.log_mel(true_BS)).abs().mean()
        loss = convergence + spectrum + self.mel_weight * mel
        return {"loss": loss, "mel": mel, "spectrum": spectrum, "convergence": convergence}

    def distance(self, made_BS: Tensor, true_BS: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Spectral convergence and log-magnitude distance with windows of ``length`` samples."""
        window = getattr(self, f"window_{length}")
        made, true = (magnitude(audio, window) for audio in (made_BS, true_BS))
        convergence = torch.linalg.vector_norm(true - made) / torch.linalg.vector_norm(true).clamp(min=FLOOR)
        return convergence, (made.log() - true.log()).abs().mean()


def magnitude(audio_BS: Tensor, window: Tensor) -> Tensor:
    """Short-time magnitudes, floored (so that the gradient of silence is finite)."""
    hop = len(window) // 4
    spectrum = torch.stft(audio_BS, len(window), hop, window=window, center=False, return_complex=True)
    return (spectrum.real.square() + spectrum.imag.square()).clamp(min=FLOOR**2).sqrt()
