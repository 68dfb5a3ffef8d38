"""text2token and a speech decoder as a reader aloud: text -> speech tokens -> audio."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from corpus.audio.files import SAMPLE_RATE, resample
from corpus.text.normalisation import normalise
from decoder.model import SpeechDecoder
from lm.data.vocabulary import Vocabulary
from runtime.artefact import artefact_folder
from text2token.backends.builtin import open_generator
from text2token.gate import GOOD, OVERSIZED, judge
from text2token.speech_generation import GeneratedSpeech, SynthesisRequest, generate_speech

from .base import NO_AUDIO, ReadSpan
from .config import AloudConfig


class ModelReader:
    """A `text2token.reading.base.SpanReader`; tokens that fail the gate are not decoded.

    Args:
        config: ``model`` and ``gate`` are read.
        device: of both models.

    Raises:
        UserError: no models there, or a decoder of other tokens.
    """

    is_repeatable = True

    def __init__(self, config: AloudConfig, device: str = "cpu") -> None:
        self.options, self.gate = config.model, config.gate
        torch.set_num_threads(self.options.threads)
        self.vocabulary = Vocabulary.from_pretrained(self.options.model)
        self.generator = open_generator(self.options, device, self.vocabulary)
        folder = artefact_folder(self.options.decoder)
        self.decoder = SpeechDecoder.from_pretrained(folder).to(device)
        self.vocabulary.check_speech_tokenizer(self.decoder.tokenizer, str(folder))
        self.voices = tuple(self.vocabulary.speakers)

    def check(self) -> None:
        """Nothing is left to check."""

    def read(self, requests: Sequence[SynthesisRequest]) -> list[ReadSpan]:
        """The audio of each request whose tokens pass the gate."""
        given = [self._as_learnt(request) for request in requests]
        made = generate_speech(given, self.generator, self.vocabulary, self.options)
        return [self._decoded(request, speech) for request, speech in zip(given, made, strict=True)]

    def _as_learnt(self, request: SynthesisRequest) -> SynthesisRequest:
        return request._replace(text=normalise(request.text)) if self.options.normalises else request

    def _decoded(self, request: SynthesisRequest, speech: GeneratedSpeech) -> ReadSpan:
        if speech.is_oversized:
            return ReadSpan(NO_AUDIO, OVERSIZED)
        verdict = judge(request.text, speech.codes, speech.is_finished, self.options.gate)
        if verdict != GOOD:
            return ReadSpan(NO_AUDIO, verdict)
        voice = request.speaker if request.speaker in self.decoder.speakers else None
        audio = self.decoder.decode(speech.codes, voice)
        return ReadSpan(resample(audio, self.decoder.sample_rate, SAMPLE_RATE))
