"""Pitch of speech by normalised autocorrelation, and the agreement of two pitch tracks.

Each window of 40 ms is correlated with itself, the result divided by that of the window alone (Boersma 1993); the
pitch is the shortest lag whose peak comes near the highest. Meant for clean speech of one voice.

Shapes: S samples, F frames of 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpus.audio.files import Samples

LOWEST, HIGHEST = 60.0, 450.0  # Hz
WINDOW, HOP = 0.04, 0.01  # seconds
VOICED = 0.6  # normalised correlation from which a frame is voiced
SILENCE = 0.02  # of the recording's loudest frame: quieter ones are unvoiced
NEAR = 0.9  # of the highest peak: the shortest lag above it is taken, against octave errors

Pitch = npt.NDArray[np.float64]


def pitch(audio: Samples, sample_rate: int) -> Pitch:
    """The pitch (F,) in Hz; 0 where a frame is not voiced."""
    length, hop = int(WINDOW * sample_rate), int(HOP * sample_rate)
    if len(audio) < length:
        return np.zeros(0)
    frames_FW = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), length)[::hop]
    frames_FW = frames_FW - frames_FW.mean(axis=1, keepdims=True)
    loudness = np.sqrt(np.square(frames_FW).mean(axis=1))
    window = np.hanning(length)
    correlation_FL = autocorrelation(frames_FW * window) / autocorrelation(window[None])
    shortest, longest = int(sample_rate / HIGHEST), int(sample_rate / LOWEST)
    inner_FL = correlation_FL[:, shortest - 1 : longest + 2]
    is_peak = (inner_FL[:, 1:-1] >= inner_FL[:, :-2]) & (inner_FL[:, 1:-1] > inner_FL[:, 2:])
    peaks_FL = np.where(is_peak, inner_FL[:, 1:-1], 0.0)
    highest = peaks_FL.max(axis=1)
    first = np.argmax(peaks_FL >= NEAR * highest[:, None], axis=1)
    rows = np.arange(len(first))
    before, at, after = (inner_FL[rows, first + step] for step in range(3))  # a parabola through the peak
    bend = before - 2 * at + after
    shift = np.divide(before - after, 2 * bend, out=np.zeros_like(bend), where=np.abs(bend) > 1e-12)
    is_voiced = (highest >= VOICED) & (loudness > SILENCE * loudness.max())
    return np.where(is_voiced, sample_rate / (first + shortest + shift), 0.0)


def autocorrelation(frames_FW: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(F, W) by lag, 1 at lag 0."""
    length = frames_FW.shape[1]
    spectrum = np.fft.rfft(frames_FW, n=2 * length)
    found = np.fft.irfft(np.square(np.abs(spectrum)))[:, : length // 2 + 2]
    return np.asarray(found / np.maximum(found[:, :1], 1e-12))


@dataclass(frozen=True)
class Agreement:
    """Of the pitch of two recordings of the same words.

    Attributes:
        correlation: Pearson's, of the logarithm over the frames that are voiced in both; NaN under 10 of them.
        voicing: share of frames that are voiced in both or in neither.
    """

    correlation: float
    voicing: float


def agreement(one: Pitch, other: Pitch) -> Agreement:
    """Compare two tracks, frame by frame as far as the shorter goes."""
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    if not length:
        return Agreement(float("nan"), float("nan"))
    both = (one > 0) & (other > 0)
    voicing = float(((one > 0) == (other > 0)).mean())
    if both.sum() < 10 or np.std(one[both]) == 0 or np.std(other[both]) == 0:
        return Agreement(float("nan"), voicing)
    return Agreement(float(np.corrcoef(np.log(one[both]), np.log(other[both]))[0, 1]), voicing)
