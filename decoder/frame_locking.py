"""Frame locking: the loss against a buzz at the vocoder's frame rate.

The phases of noise are not in a mel. Spectral losses let the vocoder's settle on constants: every frame then adds the
same waveform, and the sound repeats and buzzes at the frame rate (docs/experiments.md, 2026-11-29). A sound without
frames is not cyclostationary at the hop. Two statistics over many frames, of first and second order, say how far a
sound is (Gardner, Napolitano & Paura 2006, Signal Processing 86(4)); both are compared with the target's:

  phase      the squared mean resultant length of each frequency bin's phase (Mardia & Jupp 2000, Directional
             Statistics, section 2.3), over stretches of about 32 frames: 0 for phases all over the circle, 1 for a
             constant
  envelope   mean short-time magnitude of each band, and mean roughness (absolute second difference), at each position
             within a frame over its mean of all positions; the roughness once as it is and once with each frame
             counting alike

Each is that of the global batch on every rank (`runtime.data_parallel`).

Shapes: B batch, S samples, F frames, N frequency bins, P positions within a frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runtime.data_parallel import gather

STRETCH = 32  # frames over which phases are compared: shorter ones are alike in any sound, whose windows overlap
QUIET = 1e-3  # of windowed magnitudes: phases below count less
FLOOR = 1e-4  # of short-time magnitudes and of roughness, about the noise of 16-bit samples
ENVELOPE_WEIGHT, ROUGHNESS_WEIGHT = 3.0, 5.0


class FrameLockingLoss(nn.Module):
    """Excess over the target of what ties a sound to frames of ``hop`` samples.

    Buffers:
        long_window: (4 * hop,) Hann window, of the phases.
        short_window: (about hop / 2,) Hann window, of the envelopes; a quarter of it divides the hop.
    """

    long_window: Tensor
    short_window: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        step = max(divisor for divisor in range(1, max(1, hop // 8) + 1) if hop % divisor == 0)
        self.register_buffer("long_window", torch.hann_window(4 * hop), persistent=False)
        self.register_buffer("short_window", torch.hann_window(4 * step), persistent=False)

    def forward(self, generated_BS: Tensor, target_BS: Tensor) -> dict[str, Tensor]:
        """The terms, float32 scalars: ``phase_locking`` and ``envelope_locking``; of at least 4 * hop samples."""
        with torch.autocast(generated_BS.device.type, enabled=False):
            generated_BS, target_BS = generated_BS.float(), target_BS.float()
            excess_N = self.resultants(generated_BS) - self.resultants(target_BS)
            envelope = (self.envelopes(generated_BS).log() - self.envelopes(target_BS).log()).square().mean()
            roughness_2P = self.roughness(generated_BS) - self.roughness(target_BS)
            roughness = roughness_2P.square().mean(1).sum()
        envelope_locking = ENVELOPE_WEIGHT * envelope + ROUGHNESS_WEIGHT * roughness
        return {"phase_locking": excess_N.clamp(min=0).mean(), "envelope_locking": envelope_locking}

    def resultants(self, audio_BS: Tensor) -> Tensor:
        """The squared mean resultant length (N,) of each bin's phase, 0 to 1."""
        window = self.long_window
        spectrum_BNF = torch.stft(audio_BS, len(window), self.hop, window=window, center=False, return_complex=True)
        unit_BNF2 = torch.view_as_real(spectrum_BNF)
        unit_BNF2 = unit_BNF2 / unit_BNF2.square().sum(-1, keepdim=True).clamp(min=QUIET**2).sqrt()
        frames = spectrum_BNF.shape[2]
        stretch = frames // max(1, round(frames / STRETCH))
        unit_BNF2 = unit_BNF2[:, :, : frames // stretch * stretch].unflatten(2, (-1, stretch))
        return gather(unit_BNF2.mean(3).square().sum(-1).mean((0, 2))).mean(0)

    def envelopes(self, audio_BS: Tensor) -> Tensor:
        """Mean magnitudes (bands, P') at P' places of a frame, over each band's mean."""
        window = self.short_window
        step = len(window) // 4
        spectrum = torch.stft(audio_BS, len(window), step, window=window, center=False, return_complex=True)
        magnitude = torch.view_as_real(spectrum).square().sum(-1).clamp(min=FLOOR**2).sqrt()
        places = self.hop // step
        whole = magnitude.shape[2] // places * places
        profile = gather(magnitude[:, :, :whole].unflatten(2, (-1, places)).mean((0, 2))).mean(0)
        return profile / profile.mean(1, keepdim=True)

    def roughness(self, audio_BS: Tensor) -> Tensor:
        """The profiles (2, P) of `evaluation.speech.hop_modulation`: as it is, and with each frame counting alike."""
        rough_BS = audio_BS.diff(n=2, dim=1).abs()
        whole = rough_BS.shape[1] // self.hop * self.hop
        rough_BFP = rough_BS[:, :whole].unflatten(1, (-1, self.hop))
        even_BFP = rough_BFP / rough_BFP.mean(2, keepdim=True).clamp(min=2 * FLOOR)
        profiles_2P = gather(torch.stack([rough_BFP.mean((0, 1)), even_BFP.mean((0, 1))])).mean(0)
        return profiles_2P / profiles_2P.mean(1, keepdim=True).clamp(min=FLOOR**2)
