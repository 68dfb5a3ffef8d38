"""Limits of a spoken question: its length by settings and context, and whether it is silent, without any model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.frame_rate import SAMPLES_PER_TOKEN
from runtime.artefact import read_json
from runtime.errors import UserError

from .settings import ChatSettings, ReplySettings, bundle_folder

TOKENS_PER_SECOND = SAMPLE_RATE / SAMPLES_PER_TOKEN
MIN_QUESTION_SECONDS = 0.1
SILENCE = 10 ** (-75 / 20)  # largest sample of digital silence or its dither, -75 dB of full scale
PROMPT_MARKS = 4  # <|user|> BOA ... EOA <|assistant|>


@dataclass(frozen=True)
class QuestionLimits:
    """The room that a chatbot has for a question.

    Attributes:
        settings: of the chatbot.
        max_length: positions of its language model.
    """

    settings: ChatSettings
    max_length: int

    @classmethod
    def of_bundle(cls, folder: Path | str) -> QuestionLimits:
        """Read a bundle's limits, but no weights.

        Raises:
            UserError: no bundle there.
        """
        root = bundle_folder(folder)
        settings = ChatSettings.load(root)
        return cls(settings, max_positions(root / "lm"))

    @property
    def reply(self) -> ReplySettings:
        """The options of replies."""
        return self.settings.reply

    @property
    def positions_per_second(self) -> float:
        """Positions of the language model that a second of the question takes."""
        hearing = self.settings.hearing
        return TOKENS_PER_SECOND if hearing is None else hearing.positions_per_second

    @property
    def max_speech_tokens(self) -> int:
        """Speech tokens of the longest reply."""
        return max(1, int(self.reply.max_reply_seconds * TOKENS_PER_SECOND))

    @property
    def reserved_tokens(self) -> int:
        """Tokens that one answer may add to the context: two texts, speech of the model's own, and the marks."""
        speech = self.max_speech_tokens if self.settings.hearing is None else 0
        return (1 + self.reply.transcribe_first) * self.reply.max_text_tokens + speech + 8

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens of the longest prompt."""
        return self.max_length - self.reserved_tokens

    @property
    def longest(self) -> float:
        """Seconds of a question that settings and context leave room for."""
        room = (self.max_prompt_tokens - PROMPT_MARKS) / self.positions_per_second
        return min(self.reply.max_question_seconds, room)

    def check(self, audio: Samples, subject: str) -> None:
        """Raise a `UserError` unless (S,) ``audio`` has the length of a question."""
        self.check_seconds(len(audio) / SAMPLE_RATE, subject)

    def check_seconds(self, seconds: float, subject: str) -> None:
        """Raise a `UserError` unless a question may last that long."""
        if seconds < MIN_QUESTION_SECONDS:
            remedy = f"record at least {MIN_QUESTION_SECONDS} s"
            raise UserError(subject, found=f"{seconds:.2f} s of audio", remedy=remedy)
        if seconds > self.longest:
            remedy = f"ask in at most {self.longest:.1f} s (max_question_seconds of chat.yaml, and the model's context)"
            raise UserError(subject, found=f"{seconds:.1f} s of audio", remedy=remedy)


def is_silent(audio: Samples) -> bool:
    """Whether (S,) ``audio`` is digital silence, in which nobody can be heard."""
    return float(np.abs(audio).max()) < SILENCE


def max_positions(model: Path) -> int:
    """Positions of a language model, by its folder's config.json."""
    return int(read_json(model / "config.json")["max_position_embeddings"])
