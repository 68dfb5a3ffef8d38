"""Segmentation of the user's speech into turns by voice activity detection, for every interface.

    listener = TurnListener(TurnOptions(), max_seconds=30.0)
    for sound in listener.feed(samples):    # SpeechStarted, HeardTurn ..., SpeechStopped
        ...

A turn is the speech with the padding before it and a little silence after it. Times are milliseconds of the stream.

S samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples

from .loudness import FRAME
from .vad import ROOM_MS, SpeechStarted, SpeechStopped, TurnDetector, TurnOptions

MS = SAMPLE_RATE // 1000  # samples
TAIL_MS = 100  # of silence that stay at a turn's end; recorded questions end about so
LATE_MS = 40  # that the detector may take to tell what it has heard: its filter, its frames, and the pieces here
START_MS = ROOM_MS  # that a turn's beginning may lie back beyond its padding when it is noticed


@dataclass(frozen=True, eq=False, kw_only=True)
class HeardTurn:
    """(S,) samples of the turn."""

    samples: Samples


Sound = SpeechStarted | HeardTurn | SpeechStopped


class TurnListener:
    """Finds turns in a stream.

    The last ``silence_ms`` of a turn in the making are held back: they are dropped if they turn out to be the
    silence that ends it, so that waiting for the end costs the model nothing.

    Args:
        options: of the detection; None where the user says when the turn is over: then all sound belongs to it.
        max_seconds: of a turn; a longer one is ended there.
        position: samples of the stream before.

    Attributes:
        position: samples since the stream's beginning.
        is_in_turn: whether the detector hears a turn.
    """

    def __init__(self, options: TurnOptions | None, max_seconds: float, position: int = 0) -> None:
        self.position = position
        self.is_in_turn = False
        self._max_samples = int(max_seconds * SAMPLE_RATE)
        self._origin = position  # of the detector's times
        self._began = position
        self._detector = TurnDetector(options) if options else None
        self._recent = np.zeros(0, dtype=np.float32)  # between turns the sound before one, in it what is held back
        self._kept = (options.prefix_padding_ms + START_MS) * MS if options else 0
        self._held = (max(options.silence_ms - TAIL_MS, 0) + LATE_MS) * MS if options else 0

    def feed(self, samples: Samples) -> list[Sound]:
        """Speech and turn boundaries in the next (S,) samples, in order."""
        if self._detector is None:
            self.position += len(samples)
            return [HeardTurn(samples=samples)] if len(samples) else []
        sounds: list[Sound] = []
        for begin in range(0, len(samples), FRAME):  # so that what the detector finds was just heard
            sounds += self._listen(samples[begin : begin + FRAME])
        return joined(sounds)

    def flush(self) -> list[Sound]:
        """End the turn where it is; what was held back of it."""
        sounds: list[Sound] = []
        if self.is_in_turn:
            sounds = [HeardTurn(samples=self._recent)] if len(self._recent) else []
        self.reset()
        return sounds

    def reset(self) -> None:
        """Forget the turn, and wait for the next speech to begin."""
        self.is_in_turn = False
        self._recent = np.zeros(0, dtype=np.float32)
        if self._detector is not None and self._detector.is_speaking:  # otherwise it goes on knowing the room
            self._detector.reset()
            self._origin = self.position

    def _listen(self, samples: Samples) -> list[Sound]:
        assert self._detector is not None
        self.position += len(samples)
        self._recent = np.concatenate([self._recent, samples])
        sounds: list[Sound] = []
        for found in self._detector.feed(samples):
            at = self._origin + found.at_ms * MS
            if isinstance(found, SpeechStarted):
                self._began = max(at, self.position - len(self._recent))
                self._recent = self._recent[len(self._recent) - (self.position - self._began) :]
                self.is_in_turn = True
                sounds.append(SpeechStarted(at_ms=self._began // MS))
            elif self.is_in_turn:
                sounds += self._stop(at + TAIL_MS * MS)
        if self.is_in_turn and self.position - self._began >= self._max_samples:
            sounds += self._stop(self._began + self._max_samples)
            self.reset()
        if not self.is_in_turn:
            self._recent = self._recent[-self._kept :]
        elif len(self._recent) > self._held:
            ready = len(self._recent) - self._held
            sounds.append(HeardTurn(samples=self._recent[:ready]))
            self._recent = self._recent[ready:]
        return sounds

    def _stop(self, end: int) -> list[Sound]:
        """The turn ends at sample ``end``; what comes after may be the next one's padding."""
        end = min(max(end, self.position - len(self._recent)), self.position)
        rest = self._recent[: len(self._recent) - (self.position - end)]
        self._recent = self._recent[len(rest) :]
        self.is_in_turn = False
        return [*([HeardTurn(samples=rest)] if len(rest) else []), SpeechStopped(at_ms=end // MS)]


def joined(sounds: list[Sound]) -> list[Sound]:
    """``sounds`` with neighbouring samples in one piece."""
    found: list[Sound] = []
    pieces: list[Samples] = []
    for sound in [*sounds, None]:
        if isinstance(sound, HeardTurn):
            pieces.append(sound.samples)
            continue
        if pieces:
            found.append(HeardTurn(samples=np.concatenate(pieces)))
            pieces = []
        if sound is not None:
            found.append(sound)
    return found
