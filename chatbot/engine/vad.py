"""When the user begins and ends to speak: the loudness of 10 ms frames against a noise floor that follows the room.

    detector = TurnDetector(TurnOptions())
    for event in detector.feed(samples):
        ...

A frame is loud where it stands ``margin`` dB above the floor, between a rising and a lower falling margin (hysteresis).
Speech starts after some loud frames and stops after ``silence_ms`` without one. The floor is a low percentile of the
latest seconds' frames. The same samples give the same events, in whatever pieces they come. Times are milliseconds of
16 kHz samples.

S samples.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpus.audio.files import SAMPLE_RATE, Samples
from runtime.errors import check_option

FRAME_MS = 10
FRAME = SAMPLE_RATE * FRAME_MS // 1000
# Hum and hiss say nothing about speech: a slope above 4 kHz, and less of what a moving average of 5 ms keeps.
VOICE_BAND = np.convolve([0.25, 0.5, 0.25], np.eye(1, 81, 40)[0] - 1 / 81)
FLOOR_FRAMES = 5  # between two looks at the floor
RISE = 0.15  # dB: no faster does the floor rise at a look while someone speaks, who is no noise (3 dB a second)
# The first words of a stream that begins with speech would be taken for the room's noise. Where speech is found in the
# first ROOM_MS, they were noise only if ROOM_FRAMES in a row are as steady as noise and softer than the speech (in dB).
ROOM_MS, ROOM_FRAMES, STEADY = 2_000, 20, 6.0
QUIETEST = -65.0  # dB of full scale: no floor is lower, so that digital silence is no reference


@dataclass(kw_only=True)
class TurnOptions:
    """How turns are found; the first three as in the Realtime API's server_vad.

    Attributes:
        threshold: 0 to 1; higher asks for louder speech (0.5 is 12 dB above the floor).
        prefix_padding_ms: how long before the first loud frame speech is said to start.
        silence_ms: how long after the last loud frame speech is over.
        start_ms: loud frames within the last ``2 start_ms`` that make a start; shorter knocks are none.
        floor_seconds: the past that the noise floor is taken from.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_ms: int = 500
    start_ms: int = 60
    floor_seconds: float = 3.0

    def __post_init__(self) -> None:
        check_option(0 <= self.threshold <= 1, "threshold", self.threshold, "give a number from 0 to 1")
        for name in ("prefix_padding_ms", "silence_ms"):
            check_option(getattr(self, name) >= 0, name, getattr(self, name), "give 0 or more")
        check_option(self.start_ms >= FRAME_MS, "start_ms", self.start_ms, f"give at least {FRAME_MS}")
        check_option(self.floor_seconds > 0, "floor_seconds", self.floor_seconds, "give a positive number")


@dataclass(frozen=True, kw_only=True)
class SpeechStarted:
    """The user began to speak, ``at_ms`` after the stream's beginning, the padding taken off."""

    at_ms: int


@dataclass(frozen=True, kw_only=True)
class SpeechStopped:
    """The user has been silent for long enough; the speech ended ``at_ms`` after the stream's beginning."""

    at_ms: int


class TurnDetector:
    """One stream of audio.

    Args:
        options: how turns are found.
    """

    def __init__(self, options: TurnOptions | None = None) -> None:
        self.options = options or TurnOptions()
        self.reset()

    def reset(self) -> None:
        """A new stream begins."""
        options = self.options
        self._rest = np.zeros(len(VOICE_BAND) // 2, dtype=np.float32)
        self._levels: deque[float] = deque(maxlen=max(1, int(options.floor_seconds * 1000 / FRAME_MS)))
        self._loud: deque[bool] = deque(maxlen=max(1, 2 * options.start_ms // FRAME_MS))
        self._num_frames = 0
        self._last_loud = 0  # the frame after it
        self._floor = QUIETEST
        self.is_speaking = False

    def feed(self, samples: Samples) -> list[SpeechStarted | SpeechStopped]:
        """Take (S,) samples at 16 kHz; what they tell."""
        audio = np.concatenate([self._rest, np.asarray(samples, dtype=np.float32)])
        count = max(0, (len(audio) - len(VOICE_BAND) + 1) // FRAME)
        self._rest = audio[count * FRAME :]
        return [event for level in frame_levels(audio).tolist() for event in self._take(level)]

    def _take(self, level: float) -> list[SpeechStarted | SpeechStopped]:
        """One more frame of this loudness in dB of full scale."""
        options = self.options
        self._levels.append(level)
        self._num_frames += 1
        if self._num_frames % FLOOR_FRAMES == 0 or len(self._levels) < FLOOR_FRAMES:
            floor = max(QUIETEST, float(np.percentile(np.fromiter(self._levels, float), 20)))
            self._floor = min(floor, self._floor + RISE) if self.is_speaking else floor
        margin = 4 + 16 * options.threshold
        is_loud = level > self._floor + (margin / 2 if self.is_speaking else margin)
        self._loud.append(is_loud)
        if is_loud:
            self._last_loud = self._num_frames
        if not self.is_speaking and sum(self._loud) * FRAME_MS >= options.start_ms:
            self.is_speaking = True
            first = self._num_frames - len(self._loud) + list(self._loud).index(True)
            if first * FRAME_MS <= ROOM_MS and not self._knows_room():
                first = 0
            return [SpeechStarted(at_ms=max(0, first * FRAME_MS - options.prefix_padding_ms))]
        if self.is_speaking and (self._num_frames - self._last_loud) * FRAME_MS >= options.silence_ms:
            self.is_speaking = False
            self._loud.clear()
            return [SpeechStopped(at_ms=self._last_loud * FRAME_MS)]
        return []

    def _knows_room(self) -> bool:
        """Whether the stream began with something else than the speech that was found just now."""
        levels = np.fromiter(self._levels, float)
        count = len(self._loud)
        before, speech = levels[:-count], float(np.median(levels[-count:][np.fromiter(self._loud, bool)]))
        if len(before) < ROOM_FRAMES:
            return False
        runs = np.lib.stride_tricks.sliding_window_view(before, ROOM_FRAMES)
        return bool(((np.ptp(runs, axis=1) < STEADY) & (runs.max(axis=1) < speech - STEADY)).any())


def frame_levels(audio: Samples) -> npt.NDArray[np.float64]:
    """(frames,) loudness of the voice band of (S,) samples in dB of full scale, as far as whole frames are known."""
    count = max(0, (len(audio) - len(VOICE_BAND) + 1) // FRAME)
    if not count:
        return np.zeros(0)
    heard = audio[: count * FRAME + len(VOICE_BAND) - 1].astype(np.float64)
    frames = np.convolve(heard, VOICE_BAND, mode="valid").reshape(count, FRAME)
    return np.asarray(10 * np.log10((frames**2).mean(axis=1) + 1e-10))
