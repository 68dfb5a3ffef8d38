"""Word errors of a transcript: edit distance between words in normal form, by rapidfuzz."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein

from .normalisation import normalise


@dataclass(frozen=True)
class WordErrors:
    """Word errors over one utterance or many.

    Attributes:
        errors: substitutions, deletions and insertions.
        words: of the references.
    """

    errors: int
    words: int

    @property
    def rate(self) -> float:
        """Word error rate, 0 to 1 and above; NaN without words."""
        return self.errors / self.words if self.words else math.nan

    @property
    def rate_or_errors(self) -> float:
        """Word error rate; the number of errors where the references have no word."""
        return self.errors / max(self.words, 1)

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(self.errors + other.errors, self.words + other.words)


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Compare two texts word by word, both normalised first; without a reference each word heard is an error."""
    said, heard = normalise(reference).split(), normalise(hypothesis).split()
    return WordErrors(Levenshtein.distance(said, heard), len(said))


def total(errors: Iterable[WordErrors]) -> WordErrors:
    """The sum over a set: its rate weighs every word alike."""
    return sum(errors, WordErrors(0, 0))


def corpus_word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Word errors over transcripts; those whose reference has no word are left out."""
    each = [word_errors(said, heard) for said, heard in zip(references, hypotheses, strict=True)]
    return total(errors for errors in each if errors.words)
