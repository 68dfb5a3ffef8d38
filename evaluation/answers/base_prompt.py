"""Prompts of a base speech language model: worked examples and a question as running text and speech, and their end.

::

    qa           Question: <question>\\nAnswer: <answer>\\n\\nQuestion: <question>\\nAnswer:
    sentences    <question>. <answer>. <question>.

A question or answer is its text, or a speech block (BOA speech EOA) in its place; texts around speech are encoded as in
interleaved documents (`lm.data.formats`). A spoken answer begins after a BOA that the prompt ends with. The paper's
prompt is not published (2411.17607): these are our choice.

An answer ends with the first of: the model's own end of text, the format's end of an answer (qa: a line's end;
sentences: a full stop or other final mark), the next question (its words, or a BOA where questions are spoken), the end
of audio where it is speech, ``max_new_tokens``. `AnswerEnd` says which one it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from lm.data.formats import Codes, interleaved_document
from lm.data.request_format import generation_end_ids
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Ids, Vocabulary
from runtime.artefact import fingerprint

Part = str | Codes
FINAL_MARK = re.compile(r"[.!?。！？]$")


class AnswerEnd(StrEnum):
    """The reason why an answer ended."""

    END_OF_TEXT = "end of text"
    END_OF_ANSWER = "end of answer"
    NEXT_QUESTION = "next question"
    END_OF_AUDIO = "end of audio"
    LENGTH = "max_new_tokens"
    CHOICE = "likeliest option"


@dataclass(frozen=True, kw_only=True)
class PromptFormat:
    """A format of prompts.

    Attributes:
        name: on command lines.
        before_question: text in front of each question.
        before_answer: text between question and answer.
        after_answer: text between an answer and the next question.
        is_closed: a text without a final mark gets a full stop.
        ends: texts that end a written answer.
    """

    name: str
    before_question: str
    before_answer: str
    after_answer: str
    is_closed: bool
    ends: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Its identity, for a score's stamp."""
        return fingerprint(asdict(self))

    @property
    def marker(self) -> str:
        """The words that begin the next question; "" where it has none."""
        return self.before_question.strip()

    def parts(self, shots: Sequence[tuple[Part, Part]], question: Part, system: str = "") -> list[Part]:
        """The prompt: texts and speech codes in turn, no two texts together."""
        parts: list[Part] = [f"{system}\n\n"] if system else []
        for asked, answer in shots:
            parts += [self.before_question, self._closed(asked), self.before_answer]
            parts += [self._closed(answer), self.after_answer]
        parts += [self.before_question, self._closed(question), self.before_answer]
        joined = join_texts(parts)
        if isinstance(joined[-1], str):  # a space belongs to the answer's first token
            joined[-1] = joined[-1].rstrip(" ")
        return joined

    def _closed(self, part: Part) -> Part:
        if not isinstance(part, str):
            return part
        part = part.strip()
        return part if not self.is_closed or FINAL_MARK.search(part) else f"{part}."


FORMATS: Mapping[str, PromptFormat] = {
    one.name: one
    for one in (
        PromptFormat(
            name="qa",
            before_question="Question: ",
            before_answer="\nAnswer: ",
            after_answer="\n\n",
            is_closed=False,
            ends=("\n",),
        ),
        PromptFormat(
            name="sentences",
            before_question="",
            before_answer=" ",
            after_answer=" ",
            is_closed=True,
            ends=(".", "!", "?", "\n", "。", "！", "？"),
        ),
    )
}


def join_texts(parts: Sequence[Part]) -> list[Part]:
    """The parts with neighbouring texts as one, and without empty ones."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif not isinstance(part, str) or part:
            joined.append(part)
    return joined


def prompt_ids(parts: Sequence[Part], vocabulary: Vocabulary, *, is_spoken: bool) -> Ids:
    """The ids (T,) of a prompt; a spoken answer follows its last one, a BOA.

    Raises:
        ValueError: a code beyond the codebook.
    """
    ids = interleaved_document(parts, vocabulary)[:-1]
    if not is_spoken:
        return ids
    return np.append(ids, np.int32(vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)))


class WrittenAnswer(NamedTuple):
    """A written answer and the reason of its end."""

    text: str
    end: AnswerEnd


class AnswerStops:
    """The ids that end an answer, and the reading of what was generated.

    Args:
        form: of the prompt.
        vocabulary: of the model.
        hears: whether questions are speech: then a BOA begins the next one.
    """

    def __init__(self, form: PromptFormat, vocabulary: Vocabulary, *, hears: bool) -> None:
        self.form, self.vocabulary = form, vocabulary
        self.begin = vocabulary.special(SpecialToken.BEGIN_OF_AUDIO)
        self.end = vocabulary.special(SpecialToken.END_OF_AUDIO)
        is_text = np.flatnonzero(vocabulary.is_text(np.arange(vocabulary.size)))
        ending = [int(id) for id in is_text if any(end in vocabulary.decode_text([int(id)]) for end in form.ends)]
        self.ends = generation_end_ids(vocabulary)
        self.written = (*self.ends, *([self.begin] if hears else []), *ending)
        self.spoken = (self.end, *self.ends)

    def read_written(self, ids: Ids) -> WrittenAnswer:
        """The text of an answer, white space around it off, without what ended it."""
        text, last = self.vocabulary.decode_text(ids), int(ids[-1]) if len(ids) else -1
        end = AnswerEnd.LENGTH
        if last == self.begin:
            end = AnswerEnd.NEXT_QUESTION
        elif last in self.ends:
            end = AnswerEnd.END_OF_TEXT
        cuts = [(at, AnswerEnd.END_OF_ANSWER) for mark in self.form.ends if (at := text.find(mark)) >= 0]
        if self.form.marker and (at := text.find(self.form.marker)) >= 0:
            cuts.append((at, AnswerEnd.NEXT_QUESTION))
        at, end = min(cuts, default=(len(text), end))
        return WrittenAnswer(text[:at].strip(), end)

    def spoken_end(self, ids: Ids) -> AnswerEnd:
        """The reason why a spoken answer ended."""
        last = int(ids[-1]) if len(ids) else -1
        if last == self.end:
            return AnswerEnd.END_OF_AUDIO
        return AnswerEnd.END_OF_TEXT if last in self.ends else AnswerEnd.LENGTH
