"""The spoken dialogue: listen (speech -> tokens), think (transcript, then reply in text), speak (tokens -> speech).

The text-guided mode of 2411.17607, with the turn (Q_s, Q_t, A_t, A_s) of GLM-4-Voice (section 4.2): the model hears the
question's speech Q_s, writes its words Q_t down (if it was trained to), writes the reply A_t, and speaks it, A_s. Each
part may hold only its own kind of token, so a reply is always text followed by speech::

    <|user|> BOA Q_s EOA <|assistant|> [<|transcript|> Q_t <|assistant|>] A_t BOA A_s EOA

S samples, T tokens.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from corpus.audio import SAMPLE_RATE, Samples
from corpus.errors import UserError
from corpus.token_time import SAMPLES_PER_TOKEN
from decoder.model import SpeechDecoder
from lm.formats import chat_prompt
from lm.generation import Allowed, Generator
from lm.vocabulary import ASSISTANT, BEGIN_OF_AUDIO, END_OF_AUDIO, TRANSCRIPT
from tokenizer.model import SpeechTokenizer

from .settings import ChatSettings

Ids = npt.NDArray[np.int32]
TOKENS_PER_SECOND = SAMPLE_RATE / SAMPLES_PER_TOKEN
MIN_QUESTION_SECONDS = 0.1
PROMPT_MARKS = 4  # <|user|> BOA ... EOA <|assistant|>


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds that the three parts of an answer took (each one's share, where many were answered at once)."""

    listen: float
    think: float
    speak: float

    @property
    def total(self) -> float:
        """All three."""
        return self.listen + self.think + self.speak


@dataclass(frozen=True, eq=False, kw_only=True)
class Answer:
    """One answer.

    Attributes:
        heard: the model's transcript of the question; None if it makes none.
        said: the reply in text.
        tokens: (T,) the reply in speech tokens.
        audio: (S,) float32, the reply in speech; empty if the model said nothing.
        sample_rate: of ``audio``, in Hz.
        is_cut: a part was ended by its limit instead of by the model.
        timings: how long it took.
    """

    heard: str | None
    said: str
    tokens: npt.NDArray[np.uint16]
    audio: Samples
    sample_rate: int
    is_cut: bool
    timings: Timings


class Bundle:
    """A whole chatbot: speech tokenizer, language model, speech decoder, settings.

    Raises:
        UserError: parts that do not belong together.
    """

    def __init__(
        self, tokenizer: SpeechTokenizer, generator: Generator, decoder: SpeechDecoder, settings: ChatSettings
    ) -> None:
        self.tokenizer, self.generator, self.decoder, self.settings = tokenizer, generator, decoder, settings
        self.vocabulary = generator.vocabulary
        reply = settings.reply
        self.reply_format = reply.reply_format()
        self.max_length = generator.max_length
        self.max_speech_tokens = max(1, int(reply.max_reply_seconds * TOKENS_PER_SECOND))
        self.check_parts()
        # What one answer may add to the context: two texts, speech, and the marks between them.
        reserved = (1 + reply.transcribe_first) * reply.max_text_tokens + self.max_speech_tokens + 8
        self.max_prompt_tokens = self.max_length - reserved
        if self.max_prompt_tokens < 16:
            found = f"up to {reserved} tokens of answer in a model of {self.max_length} positions"
            remedy = "lower max_text_tokens or max_reply_seconds in chat.yaml"
            raise UserError("the chatbot's settings", found=found, remedy=remedy)

    @classmethod
    def from_pretrained(
        cls, folder: Path | str, *, batch_size: int = 16, dtype: str = "float32", device: str = "cpu"
    ) -> Bundle:
        """Load a bundle folder (or the run folder of chatbot.bundle that holds one).

        Args:
            folder: with ``tokenizer/ lm/ decoder/ chat.yaml``.
            batch_size: questions answered at once by `ChatSession.answer_many`.
            dtype: of the language model, "float32" or "bfloat16".
            device: a torch device.

        Raises:
            UserError: no bundle, an incomplete one, or parts that do not belong together.
        """
        root = bundle_folder(folder)
        settings = ChatSettings.load(root)
        for part in ("tokenizer", "lm", "decoder"):
            if not (root / part).is_dir():
                remedy = "copy the whole bundle again, or run chatbot.bundle again"
                raise UserError(str(root), found=f"an incomplete bundle: no folder {part}/", remedy=remedy)
        return cls(
            SpeechTokenizer.from_pretrained(root / "tokenizer", device),
            Generator.from_pretrained(root / "lm", batch_size=batch_size, dtype=dtype, device=device),
            SpeechDecoder.from_pretrained(root / "decoder").to(device),
            settings,
        )

    def check_parts(self) -> None:
        """Raise a `UserError` unless tokenizer, model and decoder speak of the same tokens."""
        token_maker, remedy = self.tokenizer.fingerprint, "bundle parts of one training chain (chatbot.bundle)"
        for part, found in (
            ("the language model's vocabulary", self.vocabulary.speech_fingerprint),
            ("the decoder", self.decoder.tokenizer),
            ("chat.yaml", self.settings.tokenizer),
        ):
            if found != token_maker:
                mismatch = f"made for speech tokenizer {found}, but the tokenizer is {token_maker}"
                raise UserError(part, found=mismatch, remedy=remedy)
        if self.settings.vocabulary != self.vocabulary.fingerprint:
            mismatch = f"vocabulary {self.vocabulary.fingerprint}, but chat.yaml says {self.settings.vocabulary}"
            raise UserError("the language model", found=mismatch, remedy=remedy)
        self.decoder.speaker_row(self.settings.voice)

    @property
    def longest_question(self) -> float:
        """Seconds of a question that settings and context leave room for."""
        room = (self.max_prompt_tokens - PROMPT_MARKS) / TOKENS_PER_SECOND
        return min(self.settings.reply.max_question_seconds, room)

    def check_question(self, audio: Samples, subject: str = "the question") -> None:
        """Raise a `UserError` unless (S,) ``audio`` can be listened to."""
        seconds = len(audio) / SAMPLE_RATE
        if seconds < MIN_QUESTION_SECONDS:
            remedy = f"record at least {MIN_QUESTION_SECONDS} s"
            raise UserError(subject, found=f"{seconds:.2f} s of audio", remedy=remedy)
        longest = self.longest_question
        if seconds > longest:
            remedy = f"ask in at most {longest:.1f} s (max_question_seconds of chat.yaml, and the model's context)"
            raise UserError(subject, found=f"{seconds:.1f} s of audio", remedy=remedy)


class ChatSession:
    """A dialogue with a bundle.

    Args:
        bundle: the chatbot.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.turns: list[Ids] = []

    def answer(self, audio: Samples) -> Answer:
        """Answer one spoken question, (S,) float32 at 16 kHz, and remember the turn (see ``remembered_turns``).

        Raises:
            UserError: the question is too short or too long.
        """
        remembered = self.bundle.settings.reply.remembered_turns
        context = np.concatenate([*self.turns[-remembered:]]) if remembered and self.turns else np.zeros(0, np.int32)
        (answer,), (turn,) = self._answer([audio], context)
        if remembered:
            self.turns = [*self.turns, turn][-remembered:]
        return answer

    def answer_many(self, audios: Sequence[Samples]) -> list[Answer]:
        """Answer questions that have nothing to do with each other, at once; each as it would be alone."""
        return self._answer(audios, np.zeros(0, np.int32))[0]

    def _answer(self, audios: Sequence[Samples], context: Ids) -> tuple[list[Answer], list[Ids]]:
        """Answers, and what each added to the context."""
        bundle, reply = self.bundle, self.bundle.settings.reply
        for number, audio in enumerate(audios, 1):
            bundle.check_question(audio, "the question" if len(audios) == 1 else f"question {number}")
        started = time.perf_counter()
        codes = bundle.tokenizer.encode(audios)
        listened = time.perf_counter()
        rows = Rows(bundle, [chat_prompt(row, bundle.vocabulary) for row in codes], context)
        heard: list[str] | None = None
        if reply.transcribe_first:
            rows.add(TRANSCRIPT)
            heard = rows.write(ASSISTANT)
        said = rows.write(BEGIN_OF_AUDIO)
        thought = time.perf_counter()
        tokens = rows.speak()
        replies = self.speak(tokens)
        spoken = time.perf_counter()
        count = max(len(audios), 1)
        timings = Timings(
            listen=(listened - started) / count, think=(thought - listened) / count, speak=(spoken - thought) / count
        )
        answers = [
            Answer(
                heard=heard[number] if heard is not None else None,
                said=said[number],
                tokens=tokens[number],
                audio=replies[number],
                sample_rate=bundle.decoder.sample_rate,
                is_cut=rows.is_cut[number],
                timings=timings,
            )
            for number in range(len(audios))
        ]
        return answers, rows.turns

    def speak(self, tokens: Sequence[npt.NDArray[np.uint16]]) -> list[Samples]:
        """Speech of token rows in the bundle's voice; none of no tokens."""
        bundle = self.bundle
        audios: list[Samples] = [np.zeros(0, dtype=np.float32) for _ in tokens]
        voiced = [number for number, row in enumerate(tokens) if len(row)]
        if voiced:
            made = bundle.decoder.decode_batch(
                [tokens[number] for number in voiced],
                [bundle.settings.voice] * len(voiced),
                steps=bundle.settings.reply.decoder_steps,
            )
            for number, audio in zip(voiced, made, strict=True):
                audios[number] = audio
        return audios


class Rows:
    """Turns in the making: what was asked, and what has been answered so far.

    Args:
        bundle: the chatbot.
        prompts: each asks one question.
        context: the dialogue before, the same for each.

    Attributes:
        turns: question and answer so far.
        is_cut: whether a part of the answer was ended by its limit.
    """

    def __init__(self, bundle: Bundle, prompts: list[Ids], context: Ids) -> None:
        self.bundle, self.turns = bundle, prompts
        room = bundle.max_prompt_tokens - max((len(prompt) for prompt in prompts), default=0)
        self.context = context if len(context) <= room else np.zeros(0, np.int32)  # too long: as if asked first
        self.is_cut = [False] * len(prompts)

    def add(self, name: str) -> None:
        """Put a special token after every row."""
        mark = np.array([self.bundle.vocabulary.special(name)], dtype=np.int32)
        self.turns = [np.concatenate([turn, mark]) for turn in self.turns]

    def write(self, stop: str) -> list[str]:
        """Let the model write text until the special token ``stop``; the texts."""
        reply = self.bundle.settings.reply
        written = self._generate(stop, "text", reply.max_text_tokens, reply.text_temperature)
        return [self.bundle.vocabulary.decode_text(ids) for ids in written]

    def speak(self) -> list[npt.NDArray[np.uint16]]:
        """Let the model speak until ``<|end_of_audio|>``; the speech tokens."""
        temperature = self.bundle.settings.reply.speech_temperature
        spoken = self._generate(END_OF_AUDIO, "speech", self.bundle.max_speech_tokens, temperature)
        return [self.bundle.vocabulary.codes(ids) for ids in spoken]

    def _generate(self, stop: str, allowed: Allowed, most: int, temperature: float) -> list[Ids]:
        mark = self.bundle.vocabulary.special(stop)
        made = self.bundle.generator.generate(
            [np.concatenate([self.context, turn]) for turn in self.turns],
            max_new_tokens=most,
            stop=[mark],
            allowed=allowed,
            temperature=temperature,
            top_p=self.bundle.settings.reply.top_p,
        )
        for number, ids in enumerate(made):
            if not len(ids) or ids[-1] != mark:
                self.is_cut[number] = True
                made[number] = np.append(ids, np.int32(mark))
            self.turns[number] = np.concatenate([self.turns[number], made[number]])
        return [ids[:-1] for ids in made]


def bundle_folder(path: Path | str) -> Path:
    """``path`` itself, or the bundle in it where it is the run folder of chatbot.bundle."""
    inner = Path(path) / "bundle"
    return inner if inner.is_dir() else Path(path)
