"""Loudness of a stream of speech in 10 ms frames, and the noise floor under it.

Shared by the two decisions that rest on it: turns (`chatbot.engine.vad`) and silence (`chatbot.engine.silence`).

S samples at 16 kHz, F frames.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from corpus.audio.files import SAMPLE_RATE, Samples

Levels = npt.NDArray[np.float64]

FRAME_MS = 10
FRAME = SAMPLE_RATE * FRAME_MS // 1000  # samples
# Hum and hiss say nothing about speech: a slope above 4 kHz, and less of what a moving average of 5 ms keeps.
VOICE_BAND = np.convolve([0.25, 0.5, 0.25], np.eye(1, 81, 40)[0] - 1 / 81)
QUIETEST = -65.0  # dB of full scale: no floor is lower, so that digital silence is no reference
NO_SAMPLES: Samples = np.zeros(0, dtype=np.float32)


class LevelMeter:
    """Frame levels of a stream; the same samples give the same levels, in whatever pieces they come.

    Args:
        padding: zeros before the stream. Without any, frame 0 is centred half of `VOICE_BAND` after the first sample.
    """

    def __init__(self, padding: int = 0) -> None:
        self._rest = np.zeros(padding, dtype=np.float32)  # samples whose loudness is not known yet

    def feed(self, samples: Samples) -> Levels:
        """The (F,) levels that (S,) further samples make known."""
        audio = np.concatenate([self._rest, samples], dtype=np.float32)
        levels = frame_levels(audio)
        self._rest = audio[len(levels) * FRAME :]
        return levels


def frame_levels(audio: Samples) -> Levels:
    """(F,) loudness of the voice band of (S,) samples in dB of full scale, of the frames that are complete."""
    count = max(0, (len(audio) - len(VOICE_BAND) + 1) // FRAME)
    if not count:
        return np.zeros(0)
    used = audio[: count * FRAME + len(VOICE_BAND) - 1].astype(np.float64)
    frames = np.convolve(used, VOICE_BAND, mode="valid").reshape(count, FRAME)
    return np.asarray(10 * np.log10((frames**2).mean(axis=1) + 1e-10))


def noise_floor(levels: Levels, percentile: float) -> float:
    """The noise floor in dB: a low percentile of (F,) levels, at least `QUIETEST`."""
    return max(QUIETEST, float(np.percentile(levels, percentile)))
