"""Voice activity detection: the loudness of 10 ms frames against a noise floor that follows the room.

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

from corpus.audio.files import Samples
from runtime.config import Options, option

from .loudness import FRAME_MS, QUIETEST, VOICE_BAND, LevelMeter, noise_floor

FLOOR_FRAMES = 5  # between two looks at the floor
RISE = 0.15  # dB: no faster does the floor rise at a look while someone speaks, who is no noise (3 dB a second)
# The first words of a stream that begins with speech would be taken for the room's noise. Where speech is found in the
# first ROOM_MS, they were noise only if ROOM_FRAMES in a row are as steady as noise and softer than the speech (in dB).
ROOM_MS, ROOM_FRAMES, STEADY = 2_000, 20, 6.0


@dataclass(kw_only=True)
class TurnOptions(Options):
    """Options of turn detection; the first three as in the Realtime API's server_vad.

    Attributes:
        threshold: 0 to 1; higher asks for louder speech (0.5 is 12 dB above the floor).
        prefix_padding_ms: how long before the first loud frame speech is said to start.
        silence_ms: how long after the last loud frame speech is over.
        start_ms: loud frames within the last ``2 start_ms`` that make a start; shorter knocks are none.
        floor_seconds: the past that the noise floor is taken from.
    """

    threshold: float = option(0.5, at_least=0, at_most=1)
    prefix_padding_ms: int = option(300, at_least=0)
    silence_ms: int = option(500, at_least=0)
    start_ms: int = option(60, at_least=FRAME_MS)
    floor_seconds: float = option(3.0, above=0)


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
        options: thresholds and times.
    """

    def __init__(self, options: TurnOptions | None = None) -> None:
        self.options = options or TurnOptions()
        self.reset()

    def reset(self) -> None:
        """A new stream begins."""
        options = self.options
        self._meter = LevelMeter(padding=len(VOICE_BAND) // 2)
        self._levels: deque[float] = deque(maxlen=max(1, int(options.floor_seconds * 1000 / FRAME_MS)))
        self._loud: deque[bool] = deque(maxlen=max(1, 2 * options.start_ms // FRAME_MS))
        self._num_frames = 0
        self._last_loud = 0  # the frame after it
        self._floor = QUIETEST
        self.is_speaking = False

    def feed(self, samples: Samples) -> list[SpeechStarted | SpeechStopped]:
        """The events of (S,) further samples at 16 kHz."""
        return [event for level in self._meter.feed(samples).tolist() for event in self._take(level)]

    def _take(self, level: float) -> list[SpeechStarted | SpeechStopped]:
        """One more frame of this loudness in dB of full scale."""
        options = self.options
        self._levels.append(level)
        self._num_frames += 1
        if self._num_frames % FLOOR_FRAMES == 0 or len(self._levels) < FLOOR_FRAMES:
            floor = noise_floor(np.fromiter(self._levels, float), 20)
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
