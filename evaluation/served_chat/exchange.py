"""Exchange with a served chatbot: one spoken question and its reply as the client saw them, with times.

Times are of `time.monotonic`. S samples, all at `REALTIME_RATE`, mono, int16.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from corpus.audio.files import Samples, resample
from runtime.errors import UserError

from .playback import Arrival, Playback, play

REALTIME_RATE = 24_000
AUDIBLE = 0.02  # of the peak: quieter samples at a recording's end are no speech
ANSWERED = ("completed", "incomplete")  # statuses of a reply: whole, or ended by a limit

Pcm = npt.NDArray[np.int16]


@dataclass(kw_only=True)
class Exchange:
    """One question and its reply, as the client saw them.

    Attributes:
        id: of the question.
        speech_ended: time after the last audible sample.
        committed: when the client or the server ended the question.
        heard: the server's transcript of the question.
        said: the transcript of the reply.
        first_text: arrival of the first text of the reply (its transcript, where it is spoken).
        pieces: the reply's speech.
        arrivals: times of the pieces.
        ended: when the server ended the reply.
        status: "completed", "cancelled", "incomplete", "failed"; "error" where the server or the connection failed.
        reason: of any other status than completed.
        early: replies that the server began and cancelled because it ended the question too early.
        interrupted: when the client began to interrupt the reply.
        silenced: when the client's player was stopped: by the server, or (commit) by the client itself.
    """

    id: str
    speech_ended: float = 0.0
    committed: float | None = None
    heard: str | None = None
    said: str = ""
    first_text: float | None = None
    pieces: list[Pcm] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    ended: float | None = None
    status: str = "error"
    reason: str = ""
    early: int = 0
    interrupted: float | None = None
    silenced: float | None = None

    @property
    def audio(self) -> Samples:
        """The reply's speech, (S,) float32 at `REALTIME_RATE`."""
        whole = np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int16)
        return (whole / 32768).astype(np.float32)

    @property
    def seconds(self) -> float:
        """Length of the reply's speech."""
        return sum(map(len, self.pieces)) / REALTIME_RATE

    @property
    def playback(self) -> Playback | None:
        """The playback of the reply; None without speech."""
        return play(self.arrivals, REALTIME_RATE)

    @property
    def first_audio_seconds(self) -> float | None:
        """From the end of the question's speech to the reply's first sample."""
        return self.arrivals[0].at - self.speech_ended if self.arrivals else None

    @property
    def first_text_seconds(self) -> float | None:
        """From the end of the question's speech to the reply's first text."""
        return None if self.first_text is None else self.first_text - self.speech_ended

    @property
    def end_to_end_seconds(self) -> float | None:
        """From the end of the question's speech until the server ended the reply."""
        return None if self.ended is None else self.ended - self.speech_ended

    @property
    def real_time_factor(self) -> float | None:
        """Seconds from the end of the question to the reply's last sample, a second of reply."""
        return (self.arrivals[-1].at - self.speech_ended) / self.seconds if self.seconds else None


def spoken_question(audio: Samples, sample_rate: int) -> Pcm:
    """(S,) float32 at ``sample_rate`` as a client sends it.

    Raises:
        UserError: no samples.
    """
    if not len(audio):
        raise UserError("the question", found="no samples", remedy="give a recording with speech")
    samples = resample(audio, sample_rate, REALTIME_RATE)
    return np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)


def audible(speech: Pcm) -> npt.NDArray[np.intp]:
    """The positions of all audible samples."""
    loudness = np.abs(speech.astype(np.int32))
    return np.flatnonzero(loudness > AUDIBLE * loudness.max(initial=1))


def leading_silence(speech: Pcm) -> int:
    """Samples before the first audible one."""
    return int(audible(speech)[0]) if speech.any() else 0


def trailing_silence(speech: Pcm) -> int:
    """Samples after the last audible one."""
    return len(speech) - 1 - int(audible(speech)[-1]) if speech.any() else 0
