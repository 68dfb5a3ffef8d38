"""Settings of the log-mel spectrogram (`corpus.audio.mel`), free of torch for config modules."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option

from .files import SAMPLE_RATE
from .frame_rate import SAMPLES_PER_FRAME


@dataclass(kw_only=True)
class MelConfig(Options):
    """Framing and bands of a mel spectrogram; the defaults suit 16 kHz speech.

    Attributes:
        sample_rate: of the audio, Hz.
        n_fft: length of the Fourier transform.
        win: window length in samples (Hann, centred in the transform).
        hop: samples a frame.
        num_mels: mel bands, from 0 Hz to half the sample rate (Slaney's scale, filters of unit area).
    """

    sample_rate: int = option(SAMPLE_RATE, at_least=8000)
    n_fft: int = 512
    win: int = 400
    hop: int = option(SAMPLES_PER_FRAME, at_least=1)
    num_mels: int = option(80, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(self.hop <= self.win <= self.n_fft, "mel.win", self.win, "hop <= win <= n_fft must hold")


@dataclass(kw_only=True)
class LogMelConfig(MelConfig):
    """`MelConfig` with the normalisation of `corpus.audio.mel.LogMel`.

    Attributes:
        floor: magnitudes below are raised to it before the logarithm.
        mean: subtracted from the natural logarithm.
        std: the difference is divided by it; with ``mean`` it makes speech about zero mean and unit variance.
        power: exponent of the magnitudes before the filters (2: power spectrum, as Whisper's).
        before: samples that a window begins before its frame's own; -1: as many as it ends after them (win - hop must
            then be even). win / 2 centres it on the frame's first sample, as Whisper's is.
        piece: samples after which the spectrogram starts afresh; the ends of a piece are mirrored, as ``torch.stft``
            does. 0: the audio is one piece with zeros around it.
        dynamic_range: frames are raised to this far (natural logarithm) below the largest value of their piece; 0
            leaves them as they are. It needs the whole piece, so a stream takes the largest value up to each chunk's
            end instead.
    """

    floor: float = option(1e-5, above=0)
    mean: float = -6.0
    std: float = option(2.5, above=0)
    power: float = option(1.0, above=0, is_later=True)
    before: int = option(-1, is_later=True)
    piece: int = option(0, at_least=0, is_later=True)
    dynamic_range: float = option(0.0, at_least=0, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.before < 0:
            check_option((self.win - self.hop) % 2 == 0, "mel.win", self.win, "win - hop must be even")
        check_option(self.before <= self.win - self.hop, "mel.before", self.before, "give at most win - hop")
        check_option(self.piece % self.hop == 0, "mel.piece", self.piece, f"give a multiple of hop ({self.hop})")
        check_option(
            not self.dynamic_range or self.piece > 0, "mel.dynamic_range", self.dynamic_range, "set mel.piece too"
        )
