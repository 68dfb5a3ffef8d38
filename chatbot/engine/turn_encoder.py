"""The user's turn as ids of the language model while it is spoken: silence is left out, the rest encoded as it comes.

S samples at 16 kHz.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples
from runtime.errors import UserError

from .models import Models
from .silence import SilenceFilter


class AudioBacklogError(UserError):
    """More audio came than may wait to be encoded."""


class TurnEncoder:
    """One turn of the user.

    Args:
        models: the sense of hearing and its thread.
        on_ids: called when there are new `ids`.

    Attributes:
        ids: of the speech so far.
        num_samples: of audio so far, silence included.
    """

    def __init__(self, models: Models, on_ids: Callable[[], None]) -> None:
        self.ids: list[int] = []
        self.num_samples = 0
        self._models = models
        self._on_ids: Callable[[], None] | None = on_ids
        self._pieces: deque[Samples] = deque()
        self._num_waiting = 0  # samples that are not encoded yet
        self._silence = SilenceFilter(models.bundle.settings.reply.kept_silence)
        self._detector = models.speech_detector()
        self._stream = models.hearing.open_turn()
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

    async def finish(self) -> bool:
        """End the turn: whether somebody spoke in it, so that `ids` are all of its speech. A closed one has none.

        Raises:
            Exception: the encoding failed.
        """
        self._take(self._silence.finish())
        while self._task is not None:
            await asyncio.wait([self._task])
        if self._failure is not None:
            raise self._failure
        if self._on_ids is None:
            return False
        if not self._detector.has_speech:
            await self._models.tokenizer_worker.run(self._detector.finish)
        if not self._detector.has_speech:
            return False
        rest = await self._stream.finish()
        if self._on_ids is None:
            return False
        self.ids += self._models.hearing.ids(rest)
        return True

    def close(self) -> None:
        """Drop what is not encoded yet."""
        self._on_ids = None  # this also takes the owner out of a reference cycle
        self._pieces.clear()
        self._num_waiting = 0

    def _take(self, audio: Samples) -> None:
        if not len(audio) or self._on_ids is None:
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
                heard = await self._stream.feed(audio)
                if self._on_ids is None:  # closed meanwhile
                    return
                self._num_waiting -= len(audio)
                if len(heard):
                    self.ids += self._models.hearing.ids(heard)
                    self._on_ids()
        except Exception as error:  # the commit's
            self._failure = error
        finally:
            self._task = None
