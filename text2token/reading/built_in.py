"""The built-in synthesisers (espeak-ng, flite) as a reader aloud: several voices, pace and pitch drawn by the seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from corpus.world.synthesis import Prompt, render
from corpus.world.voices import HELD_OUT, choose_voices
from text2token.gate import EMPTY, count_letters
from text2token.speech_generation import SynthesisRequest

from .base import NO_AUDIO, ReadSpan
from .config import AloudConfig


class BuiltInReader:
    """A `text2token.reading.base.SpanReader`.

    Args:
        config: ``voices`` is read.
        device: unused.
    """

    is_repeatable = True

    def __init__(self, config: AloudConfig, device: str = "cpu") -> None:
        chosen = choose_voices(config.voices.engines, config.voices.count)
        self._voices = {voice.name: voice for voice in chosen if voice.role != HELD_OUT}
        self.voices = tuple(self._voices)

    def check(self) -> None:
        """Nothing is left to check."""

    def read(self, requests: Sequence[SynthesisRequest]) -> list[ReadSpan]:
        """The audio of each request, one after the other."""
        return [self._read(request) for request in requests]

    def _read(self, request: SynthesisRequest) -> ReadSpan:
        if not count_letters(request.text):
            return ReadSpan(NO_AUDIO, EMPTY)
        prompt = Prompt(str(request.seed), request.text, self._voices[request.speaker], Path())
        return ReadSpan(render(prompt, request.seed))
