"""Where speech begins: a question's leading silence is not heard, since models were trained with little of it.

    onset = Onset(kept=0.3)
    heard = onset.feed(samples)       # nothing until somebody speaks, then that with 0.3 s before it, then everything
    heard = onset.finish()            # the turn is over: what was held back, if nobody was found to speak

Only what is clearly softer than the speech after it is left out: speech that begins at once, or that the room's noise
comes near, is heard from its first sample on. The same samples are left out in whatever pieces they come.

S samples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from corpus.audio import SAMPLE_RATE, Samples

from .turns import FRAME, QUIETEST, frame_levels

RISE = 9.0  # dB above the floor (the 20th percentile so far): loud
LOUD_FRAMES, WITHIN = 6, 12  # so many loud frames within so many are speech
SOFTER = 12.0  # dB below the first speech: silence
LONGEST_CLICK = 2  # frames
NOTHING = np.zeros(0, dtype=np.float32)


class Onset:
    """One turn of audio at 16 kHz.

    Args:
        kept: seconds of silence before the speech that are heard; None hears everything.
    """

    def __init__(self, kept: float | None) -> None:
        self.kept = kept
        self._is_over = kept is None
        self._held: list[Samples] = []
        self._levels = np.zeros(0)
        self._rest = np.zeros(0, dtype=np.float32)  # whose loudness is not known yet

    def feed(self, samples: Samples) -> Samples:
        """Take (S,) samples; what is to be heard now."""
        if self._is_over:
            return samples
        self._held.append(np.array(samples, dtype=np.float32))
        self._rest = np.concatenate([self._rest, self._held[-1]])
        known, latest = len(self._levels), frame_levels(self._rest)
        self._levels = np.concatenate([self._levels, latest])
        self._rest = self._rest[len(latest) * FRAME :]
        for count in range(max(WITHIN, known + 1), len(self._levels) + 1):
            begin = speech_begin(self._levels[:count])
            if begin is not None:
                assert self.kept is not None
                return self._release(max(0, begin * FRAME - round(self.kept * SAMPLE_RATE)))
        return NOTHING

    def finish(self) -> Samples:
        """The turn is over; what was held back."""
        return self._release(0)

    def _release(self, begin: int) -> Samples:
        held = np.concatenate([NOTHING, *self._held])
        self._is_over, self._held = True, []
        return held[begin:]


def without_silence(audio: Samples, kept: float | None) -> Samples:
    """(S,) samples of a whole turn without the silence before the speech, but ``kept`` seconds of it."""
    onset = Onset(kept)
    return np.concatenate([onset.feed(audio), onset.finish()])


def speech_begin(levels: npt.NDArray[np.float64]) -> int | None:
    """The frame where the silence before the speech ends, if the latest of these frames are speech."""
    latest = levels[-WITHIN:]
    loud = latest[latest > max(QUIETEST, float(np.percentile(levels, 20))) + RISE]
    if len(loud) < LOUD_FRAMES:
        return None
    audible = levels > float(np.median(loud)) - SOFTER
    steady = np.convolve(audible, np.ones(LONGEST_CLICK + 1), mode="valid") == LONGEST_CLICK + 1
    return int(np.argmax(steady)) if steady.any() else 0
