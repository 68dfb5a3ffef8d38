"""Ways of asking a base model about a fact; the model goes on greedily, and the first sentence is its answer.

::

    t2t         what color has lisbon.                      it is white.
    s2t         BOA speech EOA                              it is white.
    t2t_begun   what color has lisbon. it is                white.
    s2t_begun   BOA speech EOA it is                        white.
    cascade     the model's own transcript of the speech.   it is white.
    heard       <|asr|> BOA speech EOA                      the transcript (word errors)

With its beginning given, an answer shows what is known whether or not the model answers at all: after a spoken
question base models tend to go on with another sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from corpus.text.word_errors import word_errors
from evaluation.answers.base_prompt import FORMATS, AnswerStops, Part, prompt_ids
from evaluation.question_answering.scoring import is_right
from evaluation.rules.measure import Measure
from lm.data.formats import Codes, asr_prompt
from lm.data.vocabulary import Ids
from lm.inference.generation import Generator

ACCURACY, WER = "accuracy", "wer"
CASCADE, HEARD = "cascade", "heard"
SENTENCES = FORMATS["sentences"]


class FactQuestion(NamedTuple):
    """A question about a fact.

    Attributes:
        id: of its item in the set.
        subset: its set and the group of its fact.
        entity: that it asks about.
        text: with a full stop.
        codes: its speech (T,).
        reply: the right one, which ends in the answer.
    """

    id: str
    subset: str
    entity: str
    text: str
    codes: Codes
    reply: str

    @property
    def answer(self) -> str:
        """The one word that is asked for."""
        return self.reply.split()[-1].removesuffix(".")

    @property
    def beginning(self) -> str:
        """The reply without its answer."""
        return self.reply.rsplit(" ", 1)[0]


class FactAnswer(NamedTuple):
    """The reply or transcript of one way of asking, and its measure: ``accuracy`` or ``wer``."""

    way: str
    text: str
    name: str
    measure: Measure


class FactAsking:
    """Asking of questions in every way.

    Args:
        generator: the model.
        max_new_tokens: of an answer and of a transcript.
    """

    def __init__(self, generator: Generator, max_new_tokens: int) -> None:
        self.generator, self.max_new_tokens = generator, max_new_tokens
        self.vocabulary = generator.vocabulary
        self.written = AnswerStops(SENTENCES, self.vocabulary, hears=False)
        self.spoken = AnswerStops(SENTENCES, self.vocabulary, hears=True)

    def ask(self, questions: Sequence[FactQuestion]) -> list[list[FactAnswer]]:
        """The answers to each question, in the order of the ways."""
        transcripts = self._transcribe(questions)
        texts, sounds, heard = ([one.text for one in questions], [one.codes for one in questions], transcripts)
        beginnings = [one.beginning for one in questions]
        replies = {
            "t2t": self._reply(texts, self.written),
            "s2t": self._reply(sounds, self.spoken),
            "t2t_begun": self._reply(texts, self.written, beginnings),
            "s2t_begun": self._reply(sounds, self.spoken, beginnings),
            CASCADE: self._reply(heard, self.written),
        }
        return [
            [
                *(
                    FactAnswer(way, own[number], ACCURACY, Measure(float(is_right(own[number], question.answer))))
                    for way, own in replies.items()
                ),
                hearing(question, transcripts[number]),
            ]
            for number, question in enumerate(questions)
        ]

    def _transcribe(self, questions: Sequence[FactQuestion]) -> list[str]:
        prompts = [asr_prompt(one.codes, self.vocabulary) for one in questions]
        made = self._generate(prompts, self.vocabulary.end_ids)
        return [self.vocabulary.decode_text(ids).strip() for ids in made]

    def _reply(
        self, questions: Sequence[str | Codes], stops: AnswerStops, beginnings: Sequence[str] | None = None
    ) -> list[str]:
        prompts = []
        for number, question in enumerate(questions):
            parts = SENTENCES.parts([], question)
            if beginnings is not None:
                parts = begun(parts, beginnings[number])
            prompts.append(prompt_ids(parts, self.vocabulary, is_spoken=False))
        return [stops.read_written(ids).text for ids in self._generate(prompts, stops.written)]

    def _generate(self, prompts: Sequence[Ids], stop: Sequence[int]) -> list[Ids]:
        return self.generator.generate(prompts, max_new_tokens=self.max_new_tokens, stop=stop, allowed="text")


def begun(parts: Sequence[Part], beginning: str) -> list[Part]:
    """A prompt that ends with the beginning of the answer."""
    *before, last = parts
    return [*before, f"{last} {beginning}"] if isinstance(last, str) else [*parts, beginning]


def hearing(question: FactQuestion, transcript: str) -> FactAnswer:
    """The word errors of the transcript."""
    errors = word_errors(question.text, transcript)
    return FactAnswer(HEARD, transcript, WER, Measure(errors.errors, errors.words))
