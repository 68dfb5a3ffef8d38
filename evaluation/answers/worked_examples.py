"""Worked examples in front of a question, out of another split: a seeded choice, in text and in speech.

A row of the split is one of the benchmark's own. Its answer is the first reference, or what its column ``answer_text``
says; for spoken answers it has ``answer_audio``. A question that is asked is no worked example: that would give its
answer away.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from evaluation.sets.item import EvaluationItem, WorkedExample
from evaluation.sets.reading import ItemReader, read_set
from evaluation.sets.rows import Row
from runtime.artefact import fingerprint
from runtime.errors import UserError


@dataclass(frozen=True)
class WorkedExamples:
    """The worked examples of a run.

    Attributes:
        by_subset: of each subset; under "" where all questions have the same.
        by_item: of each question by its id, where they depend on more than its subset.
    """

    by_subset: Mapping[str, tuple[WorkedExample, ...]]
    by_item: Mapping[str, tuple[WorkedExample, ...]] = field(default_factory=dict)

    def of(self, item: EvaluationItem) -> tuple[WorkedExample, ...]:
        """Those in front of a question."""
        return self.by_item.get(item.id, ()) or self.by_subset.get("", ()) or self.by_subset.get(item.subset, ())

    @property
    def count(self) -> int:
        """In front of each question."""
        return max(map(len, [*self.by_subset.values(), *self.by_item.values()]), default=0)

    @property
    def digest(self) -> str:
        """Identity of all of them, in their order."""
        chosen = {
            name: [[one.id, one.prompt, one.answer] for one in shots]
            for name, shots in {**self.by_subset, **self.by_item}.items()
        }
        return fingerprint(chosen)


def read_worked_examples(
    benchmark: str,
    source: str,
    read_item: ItemReader,
    *,
    max_bad_share: float,
    needs_audio: bool = False,
    needs_spoken_answer: bool = False,
) -> tuple[EvaluationItem, ...]:
    """The items of a split that may be shown: those with an answer.

    Raises:
        UserError: nothing there, or too many bad rows (without the speech that is needed).
    """
    read = with_answers(read_item, needs_spoken_answer=needs_spoken_answer)
    found = read_set(benchmark, source, read, max_bad_share=max_bad_share, needs_audio=needs_audio)
    return tuple(item for item in found.items if item.references)


def with_answers(read_item: ItemReader, *, needs_spoken_answer: bool) -> Callable[[Row], EvaluationItem | None]:
    """A reader that also takes the answer of a row as it is shown: ``answer_text``, ``answer_audio``."""

    def read(row: Row) -> EvaluationItem | None:
        item = read_item(row)
        if item is None:
            return None
        text = row.text("answer_text") if row.values.get("answer_text") is not None else ""
        audio = row.audio("answer_audio")
        if needs_spoken_answer:
            if audio is None:
                raise ValueError("no answer_audio, which worked examples with spoken answers need")
            audio.read()
        return replace(item, answer_text=text, answer_audio=audio)

    return read


def choose_worked_examples(
    able: Sequence[EvaluationItem], asked: Sequence[EvaluationItem], count: int, seed: int, source: str, *, of: str
) -> WorkedExamples:
    """A seeded choice for all questions, or for those of each subset.

    Args:
        able: what may be shown.
        asked: the questions.
        count: in front of each question.
        seed: of the choice.
        source: of ``able``, for errors.
        of: ``set`` or ``subset``.

    Raises:
        UserError: fewer than ``count`` of them, or one that is asked.
    """
    subsets = [""] if of == "set" else sorted({item.subset for item in asked})
    chosen: dict[str, tuple[WorkedExample, ...]] = {}
    prompts = {plain_words(item.prompt): item.id for item in asked}
    for subset in subsets:
        mine = [item for item in able if of == "set" or item.subset == subset]
        if len(mine) < count:
            where = f" of subset {subset!r}" if of == "subset" else ""
            remedy = "lower shots, give a larger split" + (", or shots_of=set" if of == "subset" else "")
            raise UserError(
                source, found=f"{len(mine)} worked examples{where}, fewer than shots={count}", remedy=remedy
            )
        drawn = random.Random(f"worked examples {seed}" + (f" {subset}" if subset else "")).sample(mine, count)
        for item in drawn:
            same = prompts.get(plain_words(item.prompt))
            if same is not None:
                found = f"worked example {item.id!r} is the question {same!r} of the set ({item.prompt!r})"
                remedy = "give a split that shares no question with the set: its answer would be given away"
                raise UserError(source, found=found, remedy=remedy)
        chosen[subset] = tuple(map(worked_example, drawn))
    return WorkedExamples(chosen)


def worked_example(item: EvaluationItem) -> WorkedExample:
    """An item as it is shown."""
    answer = item.answer_text or item.references[0]
    return WorkedExample(item.prompt, answer, item.id, item.audio, item.answer_audio)


def plain_words(text: str) -> str:
    """A text in small letters, without punctuation and with single spaces: equal for equal questions."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(sign if sign.isalnum() else " " for sign in folded).split())
