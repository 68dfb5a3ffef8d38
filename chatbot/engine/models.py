"""The loaded models of an engine, and the threads that they run on: what conversations, replies and TTS work with."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from corpus.audio.files import Samples
from lm.inference.generation import Generator
from runtime.errors import UserError
from runtime.streaming import Array

from .backends.builtin import Builtin, LanguageModelBackend
from .backends.endpoint import Remote
from .bundle_parts import Bundle
from .events import ReplyDone
from .hearing import make_hearing
from .loudness import NO_SAMPLES
from .options import EngineOptions
from .silence import without_silence
from .speech_detector import SpeechDetector, load_network
from .worker import Worker


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a bundle: seconds of a question, seconds of a spoken reply, tokens of the model's context."""

    max_question_seconds: float
    max_reply_seconds: float
    context_tokens: int


class Models:
    """Hearing, language model and speech decoder of one engine.

    Args:
        bundle: the models and the settings of replies.
        options: of the engine.

    Attributes:
        sample_rate: of the speech, Hz.
        voices: of the decoder, the bundle's own first.
        limits: of question, reply and context.
        backend: runs the language model.
        reader: runs the model that texts are read aloud by.
        hearing: makes ids of the user's speech.
        tokenizer_worker: thread of the speech tokenizer, or of the encoder and the connector.
        decoder_worker: thread of the speech decoder.
        speech_network: of the speech detectors; None where the bundle's settings want none.
        jobs: held by each transcription and each text that is read aloud.
        on_reply: called at the end of every reply of a conversation with the seconds of speech that were made.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions) -> None:
        self.bundle, self.options = bundle, options
        self.sample_rate = bundle.decoder.sample_rate
        own = bundle.settings.voice
        self.voices = [own, *(voice for voice in bundle.decoder.speakers if voice != own)]
        self.limits = Limits(
            max_question_seconds=bundle.longest_question,
            max_reply_seconds=bundle.settings.reply.max_reply_seconds,
            context_tokens=bundle.max_length,
        )
        self.backend = make_backend(bundle, options)
        self.reader = self.backend if bundle.reader is None else Builtin(bundle.reader, self.num_readings)
        self.tokenizer_worker = Worker("speech tokenizer", options.max_batch)
        self.hearing = make_hearing(bundle, self.tokenizer_worker, self.backend.order_on_loop)
        self.decoder_worker = Worker("speech decoder", options.max_batch)
        self.speech_network = load_network() if bundle.settings.reply.min_speech_probability else None
        self.jobs = asyncio.Semaphore(options.max_jobs)
        self.on_reply: list[Callable[[ReplyDone, float], None]] = []

    @property
    def num_readings(self) -> int:
        """Texts that the reader reads at once: jobs, and the replies of a model that does not speak itself."""
        return self.options.max_jobs + (self.options.max_talkers if self.bundle.hearing is not None else 0)

    def check_voice(self, voice: str | None) -> str:
        """The voice, or the bundle's own for None.

        Raises:
            UserError: an unknown voice.
        """
        if voice is not None and voice not in self.voices:
            raise UserError("voice", found=repr(voice), remedy=f"choose one of {', '.join(self.voices)}")
        return voice or self.voices[0]

    def speech_detector(self) -> SpeechDetector:
        """The detector of one turn of the user, by the bundle's settings."""
        return SpeechDetector(self.speech_network, self.bundle.settings.reply.min_speech_probability)

    async def encode(self, audio: Samples) -> Array:
        """A whole turn of speech, (S,) float32 at 16 kHz, for `hearing.ids`, without its silence (`engine.silence`).

        There is nothing where nobody speaks (`engine.speech_detector`).
        """
        hearing, kept = self.hearing, self.bundle.settings.reply.kept_silence
        detector = self.speech_detector()

        def encode() -> Array:
            spoken = without_silence(audio, kept)
            detector.feed(spoken)
            detector.finish()
            return hearing.encode(spoken if detector.has_speech else NO_SAMPLES)

        return await self.tokenizer_worker.run(encode)

    async def close(self) -> None:
        """End the threads and the language model."""
        await self.backend.close()
        if self.reader is not self.backend:
            await self.reader.close()
        await asyncio.to_thread(self.tokenizer_worker.close)
        await asyncio.to_thread(self.decoder_worker.close)


def make_backend(bundle: Bundle, options: EngineOptions) -> LanguageModelBackend:
    """The language model on a thread of this process, or behind an endpoint.

    Raises:
        UserError: an endpoint that does not answer.
    """
    if options.backend_url:
        if bundle.settings.reply.min_confidence:
            text = "reply.min_confidence has no effect: the endpoint tells no probabilities"
            warnings.warn(text, RuntimeWarning, stacklevel=2)
        return Remote(bundle.vocabulary, bundle.max_length, options)
    if not isinstance(bundle.generator, Generator):
        raise UserError("the bundle", found="no weights of the language model", remedy="load them: has_weights=True")
    return Builtin(bundle.generator, options.max_talkers + options.max_jobs)
