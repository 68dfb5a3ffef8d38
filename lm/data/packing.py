"""Best-fit packing: whole documents into sequences, with little padding.

Documents are taken from the longest to the shortest; each goes into the open sequence in which it leaves the least
room, or opens a new one (best-fit decreasing: at most 11/9 of the fewest sequences possible, plus 4; as used for
language models in arXiv 2404.10830)::

    capacity 10, documents 7 6 4 3 2 2   ->   7+3 | 6+4 | 2+2

All documents of one length are placed at once: a sequence with room r, the least that is enough, takes r // length of
them before any other sequence is looked at. So the steps are as many as lengths meet amounts of room, not documents.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class PackedDocuments(NamedTuple):
    """Documents sequence by sequence: sequence i holds ``documents[starts[i]:starts[i + 1]]``."""

    documents: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]


def best_fit(lengths: npt.NDArray[np.integer], capacity: int) -> PackedDocuments:
    """Pack documents; equal lengths keep their order, so the result is a function of the lengths.

    Args:
        lengths: (N,) of the documents, at most ``capacity``.
        capacity: of a sequence.
    """
    assert len(lengths) and lengths.min() >= 0 and lengths.max() <= capacity
    # Numbers of 16 bits are sorted by radix.
    order = np.argsort((capacity - lengths).astype(np.min_scalar_type(capacity)), kind="stable")
    counts = np.bincount(lengths, minlength=1)
    sequence_of = np.empty(len(lengths), dtype=np.int64)
    rooms = _OpenSequences(capacity)
    placed = 0
    for length in np.flatnonzero(counts)[::-1].tolist():
        end = placed + int(counts[length])
        while placed < end:
            sequences, each = rooms.take(length, end - placed)
            filled = np.repeat(sequences, each)[: end - placed]
            sequence_of[order[placed : placed + len(filled)]] = filled
            placed += len(filled)
    documents = np.argsort(sequence_of, kind="stable")
    starts = np.zeros(rooms.num_sequences + 1, dtype=np.int64)
    np.cumsum(np.bincount(sequence_of, minlength=rooms.num_sequences), out=starts[1:])
    return PackedDocuments(documents, starts)


class _OpenSequences:
    """Sequences that have room, by its amount; of one amount the latest is filled first.

    Args:
        capacity: of a sequence.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity, self.num_sequences = capacity, 0
        self._rooms: list[int] = []  # sorted
        self._with_room: dict[int, list[npt.NDArray[np.int64]]] = {}

    def take(self, length: int, count: int) -> tuple[npt.NDArray[np.int64], int]:
        """Fill the sequences of one amount of room, or new ones, with documents of ``length``.

        Args:
            length: at least 0.
            count: of the documents that are left; not all need find place.

        Returns:
            The sequences, and how many documents each of them takes (the last one perhaps fewer).
        """
        at = bisect_left(self._rooms, length)
        is_new = at == len(self._rooms)
        room = self.capacity if is_new else self._rooms[at]
        each = room // length if length else count
        wanted = -(-count // each)
        if is_new:
            sequences = np.arange(self.num_sequences, self.num_sequences + wanted)
            self.num_sequences += wanted
        else:
            sequences = self._pop(room, wanted)
        rest = count - (len(sequences) - 1) * each  # documents that are left for the last sequence
        whole = sequences if rest >= each else sequences[:-1]
        self._push(room - each * length, whole)
        self._push(room - rest * length, sequences[len(whole) :])
        return sequences, each

    def _pop(self, room: int, most: int) -> npt.NDArray[np.int64]:
        chunks, taken, num_taken = self._with_room[room], [], 0
        while chunks and num_taken < most:
            chunk = chunks.pop()
            if len(chunk) > most - num_taken:
                cut = len(chunk) - (most - num_taken)
                chunks.append(chunk[:cut])
                chunk = chunk[cut:]
            taken.append(chunk[::-1])
            num_taken += len(chunk)
        if not chunks:
            del self._with_room[room], self._rooms[bisect_left(self._rooms, room)]
        return np.concatenate(taken)

    def _push(self, room: int, sequences: npt.NDArray[np.int64]) -> None:
        if room and len(sequences):
            if room not in self._with_room:
                insort(self._rooms, room)
            self._with_room.setdefault(room, []).append(sequences)
