"""Word error rates, and whether an answer is right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from corpus.text.normalisation import normalise


@dataclass(frozen=True)
class AnswerWordErrors:
    """Edits (substitutions, deletions, insertions) between what was said and what was heard, and words said."""

    edits: int
    words: int

    @property
    def rate(self) -> float:
        """The word error rate; edits alone where no word was said."""
        return self.edits / max(self.words, 1)

    def __add__(self, other: AnswerWordErrors) -> AnswerWordErrors:
        return AnswerWordErrors(self.edits + other.edits, self.words + other.words)


def word_errors(said: str, heard: str) -> AnswerWordErrors:
    """Compare two texts word by word, in normal form (lower case, no punctuation)."""
    import jiwer

    reference, hypothesis = normalise(said), normalise(heard)
    if not reference:  # jiwer refuses it
        return AnswerWordErrors(len(hypothesis.split()), 0)
    found = jiwer.process_words(reference, hypothesis)
    return AnswerWordErrors(found.substitutions + found.deletions + found.insertions, len(reference.split()))


def total(errors: Iterable[AnswerWordErrors]) -> AnswerWordErrors:
    """The sum over a set: its rate weighs every word alike."""
    return sum(errors, AnswerWordErrors(0, 0))


def is_right(reply: str, answer: str) -> bool:
    """Whether a reply ends in the answer key, word for word, in normal form ("It is Paris." for "paris")."""
    key = normalise(answer).split()
    assert key, "an answer key has at least one word"
    return normalise(reply).split()[-len(key) :] == key


def share(truths: Iterable[bool]) -> float:
    """The share that is true."""
    values = list(truths)
    return sum(values) / max(len(values), 1)
