"""Output heads cut to the ids that may come next: text tokens, speech tokens, both, given ids, or all but padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from lm.data.vocabulary import Ids, Vocabulary

from .batch_invariant_linear import BatchInvariantLinear
from .cached_llama import CachedLlama

Allowed = Literal["text", "speech", "both", "any"]


class Head(NamedTuple):
    """The head's rows of N ids, and those ids (N,) in ascending order."""

    linear: BatchInvariantLinear
    ids: Ids


class OutputHeads:
    """The heads of a model, each made at its first use.

    Args:
        model: whose head is cut.
        vocabulary: of the model.
    """

    def __init__(self, model: CachedLlama, vocabulary: Vocabulary) -> None:
        self.model, self.vocabulary = model, vocabulary
        self._made: dict[tuple[str | tuple[int, ...], tuple[int, ...]], Head] = {}

    def __call__(self, allowed: Allowed | Sequence[int], stop: Sequence[int]) -> Head:
        """The head of the ids that may come, ``stop`` always among them."""
        key = (allowed if isinstance(allowed, str) else tuple(allowed), tuple(stop))
        if key not in self._made:
            every = np.arange(self.vocabulary.size)
            if allowed == "text":
                is_kept = self.vocabulary.is_text(every)
            elif allowed == "speech":
                is_kept = self.vocabulary.is_speech(every)
            elif allowed == "both":
                is_kept = self.vocabulary.is_text(every) | self.vocabulary.is_speech(every)
            elif allowed == "any":
                is_kept = every != self.vocabulary.pad
            else:
                is_kept = np.isin(every, np.asarray(allowed))
            is_kept[list(stop)] = True
            ids = np.flatnonzero(is_kept).astype(np.int32)
            rows = self.model.head[torch.from_numpy(ids.astype(np.int64)).to(self.model.device)]
            self._made[key] = Head(BatchInvariantLinear(rows), ids)
        return self._made[key]
