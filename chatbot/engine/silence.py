"""Removal of most of the silence before, between and after the words of a question.

    silence = SilenceFilter(kept=0.2)
    audio = silence.feed(samples)       # nothing until somebody speaks; a pause is held back until they go on
    audio = silence.finish()            # the turn is over: if no speech was found, all there is

Models are trained with little silence, and misread people who take a breath before they ask, think in the middle, or
release the button late. On either side of speech ``kept`` seconds of silence stay.

Only what is clearly softer than the speech around it is left out: speech that begins at once, or that is hardly louder
than the room's noise, stays from its first sample on. The same samples are left out in whatever pieces they come.

S samples.
"""

from __future__ import annotations

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples

from .loudness import FRAME, NO_SAMPLES, LevelMeter, Levels, noise_floor

RISE = 9.0  # dB above the floor (the 20th percentile so far): loud
LOUD_FRAMES, WITHIN = 6, 12  # LOUD_FRAMES loud frames within WITHIN frames are speech
SOFTER = 12.0  # dB below the first speech: silence
LONGEST_CLICK = 2  # frames, before the first word
# Once somebody has spoken, silence is what comes no nearer to the speech so far (its 90th percentile) than SOFTEST dB,
# or stands out by no more than AUDIBLE dB from the softest of all that was heard (the 5th).
SOFTEST, AUDIBLE = 30.0, 6.0
LONGEST_KNOCK = 5  # frames, after a word: no further one is so short
LOOK = 5  # frames between two looks at these


class SilenceFilter:
    """One turn of audio at 16 kHz.

    Args:
        kept: seconds of silence that stay on either side of speech; None keeps everything.
    """

    def __init__(self, kept: float | None) -> None:
        self.kept = kept
        self._held = NO_SAMPLES  # samples that may stay
        self._first = 0  # the sample of the turn that it begins with
        self._meter = LevelMeter()
        self._levels = np.zeros(0)
        self._begin: int | None = None  # the frame where the first word begins
        self._end = 0  # the frame after the latest word
        self._audible = 0  # the latest frames of the turn that are audible, without a gap
        self._threshold = 0.0

    def feed(self, samples: Samples) -> Samples:
        """Take (S,) samples; returns those that are known to stay now."""
        if self.kept is None:
            return samples
        self._held = np.concatenate([self._held, samples], dtype=np.float32)
        known = len(self._levels)
        self._levels = np.concatenate([self._levels, self._meter.feed(samples)])
        return np.concatenate([NO_SAMPLES, *(self._look(frame) for frame in range(known, len(self._levels)))])

    def finish(self) -> Samples:
        """End the turn; returns the rest of the samples that stay."""
        if self._begin is not None and self._end + self._num_kept < len(self._levels):
            return NO_SAMPLES
        return self._take(self._first + len(self._held))

    @property
    def _num_kept(self) -> int:
        """Frames of silence that stay on either side of speech."""
        assert self.kept is not None
        return round(self.kept * SAMPLE_RATE) // FRAME

    def _look(self, frame: int) -> Samples:
        """The samples that stay now that the loudness of ``frame`` is known."""
        if self._begin is None:
            self._begin = speech_begin(self._levels[: frame + 1])
            if self._begin is None:
                return NO_SAMPLES
            self._end = frame + 1
            self._threshold = softest_audible(self._levels[: frame + 1], self._begin)
            self._leave_out(self._begin - self._num_kept)
            return self._take(self._end * FRAME)
        if (frame - self._begin) % LOOK == 0:
            self._threshold = softest_audible(self._levels[: frame + 1], self._begin)
        self._audible = self._audible + 1 if self._levels[frame] > self._threshold else 0
        if self._audible <= LONGEST_KNOCK:
            return self._take(min(frame + 1, self._end + self._num_kept) * FRAME)
        resumed = frame + 1 - self._audible
        if resumed - self._end > 2 * self._num_kept:
            self._leave_out(resumed - self._num_kept)
        self._end = frame + 1
        return self._take(self._end * FRAME)

    def _leave_out(self, frame: int) -> None:
        """Drop what is held before ``frame``."""
        self._take(frame * FRAME)

    def _take(self, sample: int) -> Samples:
        """Take the held samples before the turn's sample number ``sample``."""
        count = max(0, sample - self._first)
        taken, self._held = self._held[:count], self._held[count:]
        self._first += len(taken)
        return taken


def softest_audible(levels: Levels, begin: int) -> float:
    """The least loudness, in dB, that is no silence, by these frames; the speech is in those from ``begin`` on."""
    return max(noise_floor(levels, 5) + AUDIBLE, float(np.percentile(levels[begin:], 90)) - SOFTEST)


def without_silence(audio: Samples, kept: float | None) -> Samples:
    """(S,) samples of a whole turn without its silence, but for ``kept`` seconds on either side of speech."""
    silence = SilenceFilter(kept)
    return np.concatenate([silence.feed(audio), silence.finish()])


def speech_begin(levels: Levels) -> int | None:
    """The frame where the silence before the speech ends, if the latest of these frames are speech."""
    latest = levels[-WITHIN:]
    if len(latest) < WITHIN:
        return None
    loud = latest[latest > noise_floor(levels, 20) + RISE]
    if len(loud) < LOUD_FRAMES:
        return None
    audible = levels > float(np.median(loud)) - SOFTER
    steady = np.convolve(audible, np.ones(LONGEST_CLICK + 1), mode="valid") == LONGEST_CLICK + 1
    return int(np.argmax(steady)) if steady.any() else 0
