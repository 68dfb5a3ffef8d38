"""From texts to speech tokens: spans, a voice for each, generation, the gate. What a unit holds depends on its texts,
the model and the config alone, not on batch size, workers or the units beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from corpus.text.normalisation import normalise
from corpus.text.spoken_form import spoken_form
from lm.data.formats import tts_prompt
from lm.data.readers import TextDocument
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from runtime.hashing import seed_of

from .gate import EMPTY, GOOD, OVERSIZED, GateConfig, judge
from .spans import SpanConfig, choose_spans
from .unit_file import Codes, SpokenDocument, SpokenSpan

NO_CODES: Codes = np.zeros(0, dtype=np.uint16)


class SpeechBackend(Protocol):
    """Continues prompts: `lm.inference.generation.Generator`, or an engine that serves the model on a cluster."""

    @property
    def max_length(self) -> int:
        """Most tokens of a prompt and its answer together."""
        ...

    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        *,
        max_new_tokens: Sequence[int],
        stop: Sequence[int],
        allowed: Literal["speech"],
        temperature: float,
        top_p: float,
        seeds: Sequence[int],
    ) -> list[npt.NDArray[np.int32]]:
        """Continue each prompt until a stop id (part of the result) or its limit, by its own seed."""
        ...


@dataclass(frozen=True, kw_only=True)
class SpanVoice:
    """How spans are read.

    Attributes:
        temperature: of sampling.
        top_p: nucleus mass.
        normalises: whether the model reads normalised words (no punctuation, lower case), as it was trained on.
        normaliser: how numbers, dates and abbreviations are written out first (`corpus.text.spoken_form`).
        names: the speakers to draw from, where a reading does not name its own.
        weights: how often each is drawn; sums to 1.
    """

    temperature: float
    top_p: float
    normalises: bool
    normaliser: str = "none"
    names: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def spoken(self, words: str) -> str:
        """Words of a text as the model gets them."""
        written_out = spoken_form(words, self.normaliser)
        return normalise(written_out) if self.normalises else written_out


class Reading(NamedTuple):
    """One text to read: its words as the model gets them, the voice, and the seed."""

    spoken: str
    speaker: str
    seed: int


class Read(NamedTuple):
    """What the model made of a reading: the codes, and whether it ended by itself. None at all if it has no room."""

    codes: Codes
    is_finished: bool
    is_too_long: bool = False


def voices(weights: dict[str, float], vocabulary: Vocabulary) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The speakers and their shares: those of the config, or all of the vocabulary alike.

    Raises:
        UserError: no speaker, one that the vocabulary does not know, or a share that is no positive number.
    """
    chosen = weights or dict.fromkeys(vocabulary.speakers, 1.0)
    if not chosen:
        found, remedy = "the vocabulary has no speaker", "make it from speech whose manifest names speakers"
        raise UserError("option speakers", found=found, remedy=remedy)
    for name, weight in chosen.items():
        vocabulary.speaker_id(name)
        if not 0 < weight < float("inf"):
            found = f"a share of {weight}"
            raise UserError(f"option speakers.{name}", found=found, remedy="give a positive number")
    total = sum(chosen.values())
    return tuple(chosen), tuple(weight / total for weight in chosen.values())


def read_aloud(
    readings: Sequence[Reading], backend: SpeechBackend, vocabulary: Vocabulary, voice: SpanVoice, gate: GateConfig
) -> list[Read]:
    """Speech tokens of each reading."""
    end = vocabulary.special(SpecialToken.END_OF_AUDIO)
    read = [Read(NO_CODES, is_finished=False, is_too_long=True)] * len(readings)
    prompts = [tts_prompt(one.spoken, one.speaker, vocabulary) for one in readings]
    limits = [gate.most_tokens(one.spoken) + 1 for one in readings]
    fitting = [at for at in range(len(readings)) if len(prompts[at]) + limits[at] <= backend.max_length]
    rows = backend.generate(
        [prompts[at] for at in fitting],
        max_new_tokens=[limits[at] for at in fitting],
        stop=[end],
        allowed="speech",
        temperature=voice.temperature,
        top_p=voice.top_p,
        seeds=[readings[at].seed for at in fitting],
    )
    for at, row in zip(fitting, rows, strict=True):
        read[at] = Read(vocabulary.codes(row), bool(len(row)) and int(row[-1]) == end)
    return read


class Synthesiser:
    """Turns documents into documents with spoken spans.

    Args:
        backend: generates.
        vocabulary: of the model.
        spans: which words become speech.
        gate: which speech is kept.
        voice: how it is read.
        seed: of the corpus; spans, voices and samples follow from it and the document's id.
        retries: how often a span whose speech fails the gate is read again, by another seed.
    """

    def __init__(
        self,
        backend: SpeechBackend,
        vocabulary: Vocabulary,
        *,
        spans: SpanConfig,
        gate: GateConfig,
        voice: SpanVoice,
        seed: int,
        retries: int = 0,
    ) -> None:
        self.backend, self.vocabulary = backend, vocabulary
        self.spans, self.gate, self.voice, self.seed, self.retries = spans, gate, voice, seed, retries

    def speak(self, documents: Sequence[TextDocument], pass_number: int) -> list[SpokenDocument]:
        """Choose spans of each document and read them."""
        plans = [self._plan(document, pass_number) for document in documents]
        spoken = [SpokenDocument(one.id, one.text, []) for one in documents]
        left: list[tuple[list[SpokenSpan], int, Reading]] = []  # where a span stands, and what is to be read
        for document, plan in zip(spoken, plans, strict=True):
            for span, reading in plan:
                document.spans.append(span)
                if reading.spoken:
                    left.append((document.spans, len(document.spans) - 1, reading))
        for attempt in range(self.retries + 1):
            if not left:
                break
            readings = [reading if not attempt else _again(reading, attempt) for _, _, reading in left]
            read = read_aloud(readings, self.backend, self.vocabulary, self.voice, self.gate)
            for (spans, at, reading), one in zip(left, read, strict=True):
                spans[at] = self._judged(spans[at], reading, one)
            left = [(spans, at, reading) for spans, at, reading in left if spans[at].verdict not in (GOOD, OVERSIZED)]
        return spoken

    def _plan(self, document: TextDocument, pass_number: int) -> list[tuple[SpokenSpan, Reading]]:
        """The spans of a document, not yet read, each with what is to be read."""
        random = np.random.default_rng(seed_of(self.seed, pass_number, document.id, "spans"))
        plan = []
        for number, span in enumerate(choose_spans(document.text, self.spans, random)):
            speaker = str(random.choice(self.voice.names, p=self.voice.weights))
            words = document.text[span.start : span.end]
            spoken = self.voice.spoken(words)
            seed = seed_of(self.seed, pass_number, document.id, "speech", number)
            blank = SpokenSpan(span.start, span.end, span.num_words, spoken, speaker, EMPTY, NO_CODES)
            plan.append((blank, Reading(spoken, speaker, seed)))
        return plan

    def _judged(self, span: SpokenSpan, reading: Reading, read: Read) -> SpokenSpan:
        if read.is_too_long:
            return dataclasses.replace(span, verdict=OVERSIZED)
        verdict = judge(reading.spoken, read.codes, read.is_finished, self.gate)
        return dataclasses.replace(span, verdict=verdict, tokens=read.codes if verdict == GOOD else NO_CODES)


def _again(reading: Reading, attempt: int) -> Reading:
    """The reading by another seed."""
    return reading._replace(seed=seed_of(reading.seed, "again", attempt))
