"""Diversity of speech tokens: repetition within a row, codes in use, and whether speakers can be classified.

Synthetic speech of one voice over-fits a language model, so a text-to-token model must keep its speakers apart. Here
the speaker of a row is classified by naive Bayes: from its counts of codes, and the codes' frequencies in each
speaker's real tokens. The accuracy on generated tokens is compared with that on real tokens of the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from text2token.gate import distinct_share
from text2token.speech_generation import Codes


class SpeakerClassifier:
    """Naive Bayes over the counts of codes, with equal priors of the speakers.

    Args:
        rows: (speaker, codes (T,)) of real speech.
        codebook_size: number of codes.
        smoothing: counts added to each code of each speaker.
    """

    def __init__(self, rows: Iterable[tuple[str, Codes]], codebook_size: int, smoothing: float = 1.0) -> None:
        counts: dict[str, npt.NDArray[np.int64]] = {}
        for speaker, codes in rows:
            total = counts.setdefault(speaker, np.zeros(codebook_size, dtype=np.int64))
            total += np.bincount(codes, minlength=codebook_size)
        self.speakers = sorted(counts)
        smooth = np.array([counts[speaker] + smoothing for speaker in self.speakers]).reshape(-1, codebook_size)
        self._log_SK = np.log(smooth / smooth.sum(1, keepdims=True))

    def classify(self, codes: Codes) -> str:
        """The most probable speaker of a row (T,)."""
        return self.speakers[int(self._log_SK[:, codes].sum(1).argmax())]

    def accuracy(self, rows: Sequence[tuple[str, Codes]]) -> float:
        """Share of rows whose speaker is classified correctly."""
        return sum(self.classify(codes) == speaker for speaker, codes in rows) / max(len(rows), 1)


def repeated_share(rows: Sequence[Codes]) -> float:
    """Mean share of trigrams of tokens that occur earlier in their row."""
    return float(np.mean([1 - distinct_share(codes) for codes in rows])) if rows else 0.0


def used_codes(rows: Sequence[Codes]) -> int:
    """Number of distinct codes."""
    return len(np.unique(np.concatenate(rows))) if rows else 0
