"""Use of a codebook: the share of codes that occur in a body of tokens, and their perplexity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class CodebookUse:
    """Occurrences of each code in a body of tokens.

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
        """exp of the entropy of the codes: the number of equally likely codes that are as hard to guess."""
        shares = self.counts[self.counts > 0] / max(1, self.counts.sum())
        return float(np.exp(-(shares * np.log(shares)).sum()))
