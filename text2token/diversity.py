"""How speech tokens differ: does a row go round in circles, and can one tell from its tokens who speaks?

Synthetic speech of one voice over-fits a language model, so a text-to-token model must keep its speakers apart. Here a
row's speaker is guessed from how often it holds each code, by the codes' frequencies in each speaker's real tokens
(naive Bayes). The guesses on generated tokens are compared with those on real tokens of the same sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from .gate import distinct_share

Codes = npt.NDArray[np.uint16]


class SpeakerClassifier:
    """Frequencies of codes for each speaker.

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

    def guess(self, codes: Codes) -> str:
        """The likeliest speaker of a row; all are as likely beforehand."""
        return self.speakers[int(self._log_SK[:, codes].sum(1).argmax())]

    def right_share(self, rows: Sequence[tuple[str, Codes]]) -> float:
        """Share of rows whose speaker is guessed."""
        return sum(self.guess(codes) == speaker for speaker, codes in rows) / max(len(rows), 1)


def repeated_share(rows: Sequence[Codes]) -> float:
    """Mean share of groups of three tokens that stand in their row before."""
    return float(np.mean([1 - distinct_share(codes) for codes in rows])) if rows else 0.0


def used_codes(rows: Sequence[Codes]) -> int:
    """How many different codes there are."""
    return len(np.unique(np.concatenate(rows))) if rows else 0
