"""Speech tokens of the user's turn while it is spoken: silence is left out, the rest is encoded as it comes.

S samples at 16 kHz.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples
from runtime.errors import UserError

from .loudness import NO_SAMPLES
from .models import Models
from .silence import SilenceFilter


class AudioBacklogError(UserError):
    """More audio came than may wait to be encoded."""


class TurnEncoder:
    """One turn of the user.

    Args:
        models: the tokenizer and its thread.
        on_codes: called when there are new `codes`.

    Attributes:
        codes: the tokens so far.
        num_samples: of audio so far, silence included.
    """

    def __init__(self, models: Models, on_codes: Callable[[], None]) -> None:
        self.codes: list[int] = []
        self.num_samples = 0
        self._models = models
        self._on_codes: Callable[[], None] | None = on_codes
        self._pieces: deque[Samples] = deque()
        self._num_waiting = 0  # samples that are not encoded yet
        self._silence = SilenceFilter(models.bundle.settings.reply.kept_silence)
        self._detector = models.speech_detector()
        self._stream = models.bundle.tokenizer.open_stream()
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    @property
    def seconds(self) -> float:
        """Seconds of audio so far, silence included."""
        return self.num_samples / SAMPLE_RATE  # not a sum of seconds, which would pass a limit that it only reaches

    @property
    def waiting_seconds(self) -> float:
        """Seconds of audio that are not encoded yet."""
        return self._num_waiting / SAMPLE_RATE

    def feed(self, audio: Samples) -> None:
        """Take (S,) samples.

        Raises:
            AudioBacklogError: too much audio waits to be encoded; these samples were not taken.
        """
        waiting, most = (self._num_waiting + len(audio)) / SAMPLE_RATE, self._models.options.max_waiting_seconds
        if waiting > most and self._pieces:
            remedy = "send audio no faster than it is spoken, or wait a moment"
            raise AudioBacklogError("the audio", found=f"{waiting:.1f} s that wait to be heard", remedy=remedy)
        self.num_samples += len(audio)
        if self.seconds <= self._models.limits.max_question_seconds:  # the error about what is too long is the commit's
            self._take(self._silence.feed(audio))

    async def finish(self) -> list[int]:
        """The tokens of the whole turn, which is over; none where nobody spoke, or of one that was closed meanwhile.

        Raises:
            Exception: the tokenizer failed.
        """
        self._take(self._silence.finish())
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._failure is not None:
            raise self._failure
        if self._on_codes is None:
            return []
        worker = self._models.tokenizer_worker
        if not self._detector.has_speech:
            await worker.run(self._detector.finish)
        rest = await worker.feed(self._stream, NO_SAMPLES, is_last=True)
        return [*self.codes, *rest.output.tolist()] if self._detector.has_speech else []

    def close(self) -> None:
        """Drop what is not encoded yet."""
        self._on_codes = None  # this also takes the owner out of a reference cycle
        self._pieces.clear()
        self._num_waiting = 0

    def _take(self, audio: Samples) -> None:
        if not len(audio) or self._on_codes is None:
            return
        self._pieces.append(audio)
        self._num_waiting += len(audio)
        if self._task is None:
            self._task = asyncio.create_task(self._encode())

    async def _encode(self) -> None:
        """Encode all that waits."""
        worker = self._models.tokenizer_worker
        try:
            while self._pieces:
                audio = np.concatenate(self._pieces)
                self._pieces.clear()
                if not self._detector.has_speech:
                    await worker.run(lambda audio=audio: self._detector.feed(audio))  # type: ignore[misc]
                codes = (await worker.feed(self._stream, audio)).output
                if self._on_codes is None:  # closed meanwhile
                    return
                self._num_waiting -= len(audio)
                if len(codes):
                    self.codes += codes.tolist()
                    self._on_codes()
        except Exception as error:  # the commit's
            self._failure = error
        finally:
            self._task = None
