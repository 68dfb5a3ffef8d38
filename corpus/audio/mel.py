"""Log-mel spectrogram, offline and streaming: the front end of tokenizer and decoder.

F = S / 160 exactly (`corpus.audio.frame_rate`). By default the window of frame f lies symmetrically around its own 160
samples::

    samples     160f-120 ........ 160f ........ 160f+160 ........ 160f+280
                |-- 120 before --|-- frame's own --|-- 120 after --|          window of 400, zeros outside the audio

Hence a frame is known 120 samples (7.5 ms) after its own samples, and streaming equals offline exactly. With
``LogMelConfig.piece`` each piece has mirrored ends instead of zeros; its clamp (``dynamic_range``) does not stream.

B batch, S samples, F mel frames, M mel bands.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from .files import Samples
from .frame_rate import SAMPLES_PER_TOKEN
from .mel_config import LogMelConfig


class LogMel(nn.Module):
    """Waveform to normalised log-mel frames. It has no state and no weights; always computed in float32.

    Buffers:
        hann: (win,) Hann window.
        filters: (n_fft // 2 + 1, M) triangular mel filters.
    """

    hann: torch.Tensor
    filters: torch.Tensor

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__()
        self.config = config or LogMelConfig()
        self.register_buffer("hann", torch.hann_window(self.config.win, dtype=torch.float32), persistent=False)
        self.register_buffer("filters", mel_filters(self.config), persistent=False)

    @property
    def margin(self) -> int:
        """Samples that a frame sees before its own ``hop`` samples (120)."""
        return self.config.before if self.config.before >= 0 else (self.config.win - self.config.hop) // 2

    @property
    def lookahead(self) -> int:
        """Samples that a frame sees after its own (120)."""
        return self.config.win - self.config.hop - self.margin

    def window(self, first_frame: int, end_frame: int) -> tuple[int, int]:
        """The samples [start, stop) that frames [first_frame, end_frame) depend on; start may be negative (zeros)."""
        return first_frame * self.config.hop - self.margin, end_frame * self.config.hop + self.lookahead

    def forward(self, audio_BS: torch.Tensor) -> torch.Tensor:
        """(B, S) audio, S a multiple of ``hop``, to (B, M, F) with F = S / hop."""
        if audio_BS.dim() != 2 or audio_BS.shape[1] % self.config.hop:
            raise ValueError(f"audio has shape {tuple(audio_BS.shape)}: give (B, S), S a multiple of {self.config.hop}")
        sides = (self.margin, self.lookahead)
        if not self.config.piece:
            return self.from_window(nn.functional.pad(audio_BS, sides))
        pieces = [nn.functional.pad(piece, sides, mode="reflect") for piece in audio_BS.split(self.config.piece, dim=1)]
        return torch.cat([self.clamp(frames, largest(frames)) for frames in map(self.from_window, pieces)], dim=2)

    def clamp(self, mel_BMF: torch.Tensor, largest_B11: torch.Tensor) -> torch.Tensor:
        """Frames raised to ``dynamic_range`` below the largest value of their piece."""
        if not self.config.dynamic_range:
            return mel_BMF
        return mel_BMF.maximum(largest_B11 - self.config.dynamic_range / self.config.std)

    def from_window(self, audio_BS: torch.Tensor) -> torch.Tensor:
        """(B, F * hop + margin + lookahead) samples, as `window` names them, to (B, M, F)."""
        with torch.autocast(audio_BS.device.type, enabled=False):
            frames_BFW = audio_BS.float().unfold(1, self.config.win, self.config.hop) * self.hann
            magnitude_BFN = torch.fft.rfft(frames_BFW, n=self.config.n_fft).abs()
            if self.config.power != 1:
                magnitude_BFN = magnitude_BFN**self.config.power
            mel_BFM = (magnitude_BFN @ self.filters).clamp_min(self.config.floor).log()
            return ((mel_BFM - self.config.mean) / self.config.std).transpose(1, 2)

    def natural_log(self, mel: torch.Tensor) -> torch.Tensor:
        """Undo the normalisation: the natural logarithm of the mel magnitudes, any shape."""
        return mel * self.config.std + self.config.mean

    def streaming(self) -> LogMelStream:
        """A fresh stream that gives the same frames piece by piece."""
        return LogMelStream(self)


class LogMelStream:
    """Feeds audio of any size through a `LogMel`; the frames, put together, equal the offline ones without clamp."""

    def __init__(self, log_mel: LogMel) -> None:
        self.log_mel = log_mel
        self.num_fed = 0
        self._begin()

    def _begin(self) -> None:
        self.is_mirrored = not self.log_mel.config.piece  # zeros need no samples to begin with
        zeros = self.log_mel.margin if self.is_mirrored else 0
        self.held = np.zeros(zeros, dtype=np.float32)  # samples from the next frame's window start on

    def feed(self, samples: Samples) -> torch.Tensor:
        """Take (S,) samples; returns the (M, F) frames that are now known (F may be 0)."""
        size = self.log_mel.config.piece
        frames = []
        while size and len(samples) >= (missing := size - self.num_fed % size):
            frames += [self._take(samples[:missing]), self._end()]
            samples = samples[missing:]
        return torch.cat([*frames, self._take(samples)], dim=1)

    def _end(self) -> torch.Tensor:
        """The remaining frames of a piece; the next begins."""
        frames_MF = self._frames_after(self.held[-2 : -2 - self.log_mel.lookahead : -1])
        self._begin()
        return frames_MF

    def _take(self, samples: Samples) -> torch.Tensor:
        self.num_fed += len(samples)
        return self._frames_after(samples)

    def _frames_after(self, samples: Samples) -> torch.Tensor:
        config, margin = self.log_mel.config, self.log_mel.margin
        self.held = np.concatenate([self.held, samples.astype(np.float32, copy=False)])
        if not self.is_mirrored and len(self.held) > margin:
            self.held = np.concatenate([self.held[margin:0:-1], self.held])
            self.is_mirrored = True
        around = self.log_mel.margin + self.log_mel.lookahead
        count = max(0, (len(self.held) - around) // config.hop) if self.is_mirrored else 0
        if not count:
            return torch.zeros(config.num_mels, 0, device=self.log_mel.hann.device)
        piece = torch.from_numpy(self.held[: count * config.hop + around])
        self.held = self.held[count * config.hop :]
        return self.log_mel.from_window(piece[None].to(self.log_mel.hann.device))[0]

    def finish(self, multiple: int = SAMPLES_PER_TOKEN) -> torch.Tensor:
        """End of the audio: pad with zeros to ``multiple`` samples and return the remaining (M, F) frames."""
        zeros = np.zeros(-self.num_fed % multiple, dtype=np.float32)
        if not self.log_mel.config.piece:
            return self.feed(np.concatenate([zeros, np.zeros(self.log_mel.lookahead, dtype=np.float32)]))
        frames_MF = self.feed(zeros)
        is_within = self.num_fed % self.log_mel.config.piece > 0
        return torch.cat([frames_MF, self._end()], dim=1) if is_within else frames_MF


def largest(mel_BMF: torch.Tensor) -> torch.Tensor:
    """(B, 1, 1): the largest value of each row."""
    return mel_BMF.amax((1, 2), keepdim=True)


def mel_filters(config: LogMelConfig) -> torch.Tensor:
    """Triangular filters of unit area on Slaney's mel scale (Auditory Toolbox): (n_fft // 2 + 1, M)."""
    frequencies = np.linspace(0, config.sample_rate / 2, config.n_fft // 2 + 1)
    top = hertz_to_mel(np.array(config.sample_rate / 2))
    edges = mel_to_hertz(np.linspace(0, top, config.num_mels + 2))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    rising = (frequencies[:, None] - left) / (centre - left)
    falling = (right - frequencies[:, None]) / (right - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * (2 / (right - left))
    return torch.from_numpy(filters.astype(np.float32))


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's scale: linear below 1 kHz (15 mel), logarithmic above (27 mel for a factor of 6.4)."""
    linear = hertz * 3 / 200
    return np.where(hertz < 1000, linear, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """The inverse of `hertz_to_mel`."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) / 27 * np.log(6.4)))
