"""Figures of merit of a tokenizer: what its tokens say, how steady they are, how they use the codebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from corpus.text.normalisation import normalise


@dataclass(frozen=True)
class WordErrors:
    """Word errors over many utterances.

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


def word_errors(references: Sequence[str], hypotheses: Sequence[str]) -> WordErrors:
    """Compare transcripts, both normalised first."""
    import jiwer

    pairs = [(normalise(said), normalise(heard)) for said, heard in zip(references, hypotheses, strict=True)]
    pairs = [pair for pair in pairs if pair[0]]
    if not pairs:
        return WordErrors(0, 0)
    result = jiwer.process_words([said for said, _ in pairs], [heard for _, heard in pairs])
    errors = result.substitutions + result.deletions + result.insertions
    return WordErrors(errors, result.hits + result.substitutions + result.deletions)


def edit_distance(one: Sequence[int] | npt.NDArray[np.uint16], other: Sequence[int] | npt.NDArray[np.uint16]) -> int:
    """Fewest substitutions, deletions and insertions that turn one token sequence into another (Levenshtein)."""
    across = np.asarray(other, dtype=np.int64)
    places = np.arange(len(across) + 1)
    row = places
    for token in np.asarray(one, dtype=np.int64):
        without_insertions = np.minimum(row[:-1] + (across != token), row[1:] + 1)
        # insertions are a running minimum: row[j] = min over i <= j of (value[i] + j - i)
        row = np.minimum.accumulate(np.concatenate([row[:1] + 1, without_insertions]) - places) + places
    return int(row[-1])


@dataclass(frozen=True)
class CodebookUse:
    """How often each code occurs in a body of tokens.

    Attributes:
        counts: (K,) occurrences.
    """

    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, tokens: Sequence[npt.NDArray[np.uint16]], codebook_size: int) -> CodebookUse:
        """Count the codes of token sequences."""
        together = np.concatenate([np.zeros(0, dtype=np.uint16), *tokens])
        return cls(np.bincount(together, minlength=codebook_size))

    @property
    def share(self) -> float:
        """Share of the codes that occur at all."""
        return float((self.counts > 0).mean())

    @property
    def perplexity(self) -> float:
        """exp of the entropy of the codes: how many would be as hard to guess, all equally likely."""
        shares = self.counts[self.counts > 0] / max(1, self.counts.sum())
        return float(np.exp(-(shares * np.log(shares)).sum()))
