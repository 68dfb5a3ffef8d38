"""The contract of readers aloud: requests -> audio, whatever makes it.

A reader's voices are names; the draw of a voice for each span is the caller's. The audio of a request should depend on
its text, voice and seed only: then a job that was killed ends with the same bytes.

S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from corpus.audio.files import Samples
from text2token.gate import GOOD
from text2token.speech_generation import SynthesisRequest

NO_AUDIO: Samples = np.zeros(0, dtype=np.float32)


class ReadSpan(NamedTuple):
    """Audio (S,) at 16 kHz of a request, and a verdict (`text2token.gate`): good, or why there is none."""

    audio: Samples
    verdict: str = GOOD


class SpanReader(Protocol):
    """A reader aloud.

    Attributes:
        voices: their names.
        is_repeatable: whether the same request gives the same audio.
    """

    voices: Sequence[str]
    is_repeatable: bool

    def check(self) -> None:
        """Raise a `UserError` where it could read nothing (a server that refuses the key, say)."""
        ...

    def read(self, requests: Sequence[SynthesisRequest]) -> list[ReadSpan]:
        """The audio of each request, in their order."""
        ...
