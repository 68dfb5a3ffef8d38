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

import copy
from collections.abc import Hashable, Sequence
from typing import Self

import numpy as np
import torch
from torch import nn

from runtime.streaming import MIN_POSITIONS, Stream

from .files import Samples
from .frame_rate import SAMPLES_PER_TOKEN
from .mel_config import LogMelConfig


class LogMel(nn.Module):
    """Waveform to normalised log-mel frames. It has no state and no weights; always computed in float32.

    Buffers:
        hann: (win,) Hann window.
        padded_hann: (n_fft,) the same, then zeros: of the samples behind a frame's window none counts.
        filters: (n_fft // 2 + 1, M) triangular mel filters.
    """

    hann: torch.Tensor
    padded_hann: torch.Tensor
    filters: torch.Tensor

    def __init__(self, config: LogMelConfig | None = None) -> None:
        super().__init__()
        self.config = config or LogMelConfig()
        hann = torch.hann_window(self.config.win, dtype=torch.float32)
        self.register_buffer("hann", hann, persistent=False)
        padded = nn.functional.pad(hann, (0, self.config.n_fft - self.config.win))
        self.register_buffer("padded_hann", padded, persistent=False)
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

    def of_clip(self, samples: Samples, num_frames: int) -> torch.Tensor:
        """(S,) samples, then zeros, to (M, F), F of ``num_frames``: on a CPU, faster than `forward` for short clips."""
        if self.config.piece:
            padded = np.pad(samples, (0, num_frames * self.config.hop - len(samples)))
            return self(torch.from_numpy(padded.astype(np.float32, copy=False))[None])[0]
        start, stop = self.window(0, num_frames)
        window = np.zeros(stop - start + self.config.n_fft - self.config.win, dtype=np.float32)
        window[-start : len(samples) - start] = samples
        return self._from_frames(torch.from_numpy(window)[None])[0]

    def from_window(self, audio_BS: torch.Tensor) -> torch.Tensor:
        """(B, F * hop + margin + lookahead) samples, as `window` names them, to (B, M, F)."""
        return self._from_frames(nn.functional.pad(audio_BS, (0, self.config.n_fft - self.config.win)))

    def _from_frames(self, audio_BS: torch.Tensor) -> torch.Tensor:
        """As `from_window`; n_fft - win samples follow, whatever they are."""
        with torch.autocast(audio_BS.device.type, enabled=False):
            frames_BFW = audio_BS.float().unfold(1, self.config.n_fft, self.config.hop) * self.padded_hann
            power_BFN = magnitudes(torch.fft.rfft(frames_BFW), self.config.power)
            mel_BFM = (power_BFN @ self.filters).clamp_min(self.config.floor).log()
            return mel_BFM.sub_(self.config.mean).div_(self.config.std).transpose(1, 2)

    def natural_log(self, mel: torch.Tensor) -> torch.Tensor:
        """Undo the normalisation: the natural logarithm of the mel magnitudes, any shape."""
        return mel * self.config.std + self.config.mean

    def streaming(self) -> LogMelStream:
        """A fresh stream that gives the same frames piece by piece."""
        return LogMelStream(self)


class LogMelStream(Stream[int, torch.Tensor]):
    """Audio of any size through a `LogMel`; the frames, put together, equal the offline ones without clamp.

    `feed` and `finish` give all frames that are known. `append` and `end` only take the audio, and a step of this many
    frames computes them, in one batch with those of other streams.

    Attributes:
        held: samples of each piece of the audio (`LogMelConfig.piece`), from the window of the next frame on.
        num_fed: samples so far.
    """

    def __init__(self, log_mel: LogMel) -> None:
        self.log_mel = log_mel
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self.num_fed = 0
        self.held: list[Samples] = []
        self._begin()

    def fork(self) -> Self:
        """A stream at the same place that goes on by itself."""
        twin = copy.copy(self)
        twin.held = list(self.held)
        return twin

    def _begin(self) -> None:
        self.is_mirrored = not self.log_mel.config.piece  # zeros need no samples to begin with
        zeros = self.log_mel.margin if self.is_mirrored else 0
        self.held.append(np.zeros(zeros, dtype=np.float32))

    def append(self, samples: Samples) -> None:
        """Take (S,) samples."""
        size = self.log_mel.config.piece
        while size and len(samples) >= (missing := size - self.num_fed % size):
            self._take(samples[:missing])
            self._mirror_end()
            samples = samples[missing:]
        self._take(samples)

    def end(self, multiple: int = SAMPLES_PER_TOKEN) -> None:
        """End of the audio, which is padded with zeros to ``multiple`` samples."""
        zeros = np.zeros(-self.num_fed % multiple, dtype=np.float32)
        if not self.log_mel.config.piece:
            self.append(np.concatenate([zeros, np.zeros(self.log_mel.lookahead, dtype=np.float32)]))
            return
        self.append(zeros)
        if self.num_fed % self.log_mel.config.piece:
            self._mirror_end()

    def _mirror_end(self) -> None:
        """The end of a piece; the next begins."""
        held = self.held[-1]
        self.held[-1] = np.concatenate([held, held[-2 : -2 - self.log_mel.lookahead : -1]])
        self._begin()

    def _take(self, samples: Samples) -> None:
        self.num_fed += len(samples)
        held = np.concatenate([self.held[-1], samples.astype(np.float32, copy=False)])
        margin = self.log_mel.margin
        if not self.is_mirrored and len(held) > margin:
            held = np.concatenate([held[margin:0:-1], held])
            self.is_mirrored = True
        self.held[-1] = held

    @property
    def around(self) -> int:
        """Samples that a window has beyond those of its frames."""
        return self.log_mel.margin + self.log_mel.lookahead

    def counts(self) -> list[int]:
        """Frames of each piece of ``held`` that are known."""
        known = [max(0, (len(held) - self.around) // self.log_mel.config.hop) for held in self.held]
        return known if self.is_mirrored else [*known[:-1], 0]

    @property
    def num_frames(self) -> int:
        """Frames that are known and were not computed yet."""
        return sum(self.counts())

    def feed(self, samples: Samples) -> torch.Tensor:
        """Take (S,) samples; returns the (M, F) frames that are now known (F may be 0)."""
        self.append(samples)
        return self.step([self], [self.num_frames])[0]

    def finish(self, multiple: int = SAMPLES_PER_TOKEN) -> torch.Tensor:
        """End of the audio: pad with zeros to ``multiple`` samples and return the remaining (M, F) frames."""
        self.end(multiple)
        return self.step([self], [self.num_frames])[0]

    def shape(self, piece: int) -> Hashable | None:
        """The number of frames; None where they are few, or of several pieces of the audio."""
        return piece if MIN_POSITIONS <= piece <= self.counts()[0] else None

    @classmethod
    @torch.inference_mode()
    def step(cls, streams: Sequence[Self], pieces: Sequence[int]) -> list[torch.Tensor]:
        """The next frames (M, F) of each stream, F of ``pieces``."""
        log_mel = streams[0].log_mel
        windows = [stream._windows(frames) for stream, frames in zip(streams, pieces, strict=True)]
        parts = [
            log_mel.from_window(torch.from_numpy(np.stack(same)).to(log_mel.hann.device))
            for same in zip(*windows, strict=True)
        ]
        if not parts:
            return [log_mel.hann.new_zeros(log_mel.config.num_mels, 0) for _ in streams]
        return list(torch.cat(parts, dim=2).unbind(0))

    def _windows(self, frames: int) -> list[Samples]:
        """The windows of the next ``frames`` frames, of each piece of the audio; the stream goes on behind them."""
        hop, windows = self.log_mel.config.hop, []
        while frames:
            count = min(frames, self.counts()[0])
            if count:
                windows.append(self.held[0][: count * hop + self.around])
                self.held[0] = self.held[0][count * hop :].copy()
            frames -= count
            if frames or (len(self.held) > 1 and not self.counts()[0]):
                self.held.pop(0)
        return windows


def magnitudes(spectrum: torch.Tensor, power: float) -> torch.Tensor:
    """Magnitudes of complex values, to a power; the spectrum is used up."""
    if spectrum.requires_grad:  # the gradient of a root of squares is no number at 0, that of `abs` is
        return spectrum.abs() if power == 1 else spectrum.abs() ** power
    squares = torch.view_as_real(spectrum).square_()
    squared = squares[..., 0] + squares[..., 1]  # a third of the time of `abs`, which guards against overflow
    return squared if power == 2 else squared.sqrt_() if power == 1 else squared ** (power / 2)


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
