"""Vectors at the input of the cached model in place of embedding rows, behind ids from the embedding table's size on.

A model that hears continuous speech gets at speech positions vectors of a connector, not
rows of its embedding table. In generation such a vector is lent an id beyond the table. So a sequence is still a list
of ids: prefixes are compared, cut and fed as before.

    with model.vectors.lent([vectors_TD]) as [ids]:
        prompt = fill_placeholders(placeholder_ids, [ids], vocabulary)
        generator.generate([prompt], ...)

T positions, D width, N rows of the table.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from lm.data.clips import speech_runs
from lm.data.vocabulary import Ids, Vocabulary

FIRST_ROWS = 1024


class LentVectors:
    """The vectors that are lent an id, in one growing table (N, D).

    Args:
        first_id: the ids begin here: the number of rows of the model's embedding table.
        width: D.
        dtype: of the model.
        device: of the model.
    """

    def __init__(self, first_id: int, width: int, dtype: torch.dtype, device: torch.device) -> None:
        self.first_id = first_id
        self._table_ND = torch.zeros((0, width), dtype=dtype, device=device)
        self._free: list[int] = []

    @property
    def num_lent(self) -> int:
        """Vectors whose ids are in use."""
        return len(self._table_ND) - len(self._free)

    @torch.inference_mode()
    def lend(self, vectors_TD: Tensor) -> Ids:
        """Ids (T,) for vectors (T, D), cast to the model's type; they are in use until `take_back`."""
        count, width = len(vectors_TD), self._table_ND.shape[1]
        if vectors_TD.shape[1:] != (width,):
            raise ValueError(f"vectors of shape {tuple(vectors_TD.shape)} for a model of width {width}")
        if (missing := count - len(self._free)) > 0:
            old = len(self._table_ND)
            more = max(missing, old, FIRST_ROWS)
            self._table_ND = F.pad(self._table_ND, (0, 0, 0, more))
            self._free += range(old + more - 1, old - 1, -1)
        rows = [self._free.pop() for _ in range(count)]
        self._table_ND[rows] = vectors_TD.detach().to(self._table_ND)
        return np.array(rows, dtype=np.int32) + np.int32(self.first_id)

    def take_back(self, ids: npt.NDArray[np.integer]) -> None:
        """End the use of ids; no sequence that will still be run may hold them."""
        self._free += (ids[::-1].astype(np.int64) - self.first_id).tolist()

    @contextlib.contextmanager
    def lent(self, vectors: Sequence[Tensor]) -> Iterator[list[Ids]]:
        """Ids for each of some vectors (T, D) while the context is open."""
        ids: list[Ids] = []
        try:
            ids += [self.lend(one) for one in vectors]
            yield ids
        finally:
            for one in ids:
                self.take_back(one)

    def is_lent(self, ids: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Mask of ids that stand for vectors."""
        return ids >= self.first_id

    def rows(self, ids: npt.NDArray[np.integer]) -> Tensor:
        """The vectors (T, D) of ids (T,)."""
        return self._table_ND[torch.from_numpy(ids.astype(np.int64) - self.first_id).to(self._table_ND.device)]


def fill_placeholders(row: npt.NDArray[np.integer], spans: Sequence[Ids], vocabulary: Vocabulary) -> Ids:
    """A document's ids with its runs of speech ids replaced by lent ids, the k-th run by the k-th span.

    Raises:
        ValueError: runs and spans differ in number or length.
    """
    filled = row.astype(np.int32)
    runs = speech_runs(row, vocabulary)
    if len(runs) != len(spans):
        raise ValueError(f"{len(spans)} spans of vectors for a document with {len(runs)} runs of placeholders")
    for number, ((begin, end), span) in enumerate(zip(runs, spans, strict=True)):
        if len(span) != end - begin:
            raise ValueError(f"span {number} has {len(span)} vectors for {end - begin} placeholders")
        filled[begin:end] = span
    return filled


def with_placeholders(ids: npt.NDArray[np.integer], vocabulary: Vocabulary) -> npt.NDArray[np.integer]:
    """Ids (T,) with the first speech id in the place of every lent one: equal for clips of equal lengths."""
    return np.where(ids >= vocabulary.size, vocabulary.speech_offset, ids)
