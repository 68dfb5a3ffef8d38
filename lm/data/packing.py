"""Best-fit packing: whole documents into sequences, with little padding.

Documents are taken from the longest to the shortest; each goes into the open sequence in which it leaves the least
room, or opens a new one (best-fit decreasing: at most 11/9 of the fewest sequences possible, plus 4; as used for
language models in arXiv 2404.10830)::

    capacity 10, documents 7 6 4 3 2 2   ->   7+3 | 6+4 | 2+2
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
    assert len(lengths) and lengths.max() <= capacity
    rooms: list[int] = []  # the different amounts of room that open sequences have, sorted
    with_room: dict[int, list[int]] = {}
    sequence_of = np.empty(len(lengths), dtype=np.int64)
    num_sequences = 0
    order = np.argsort(-lengths.astype(np.int64), kind="stable")
    for document, length in zip(order.tolist(), lengths[order].tolist(), strict=True):
        at = bisect_left(rooms, length)
        if at == len(rooms):
            sequence, room = num_sequences, capacity
            num_sequences += 1
        else:
            room = rooms[at]
            sequence = with_room[room].pop()
            if not with_room[room]:
                del rooms[at], with_room[room]
        sequence_of[document] = sequence
        left = room - length
        if left:
            if left not in with_room:
                insort(rooms, left)
            with_room.setdefault(left, []).append(sequence)
    documents = np.argsort(sequence_of, kind="stable")
    starts = np.zeros(num_sequences + 1, dtype=np.int64)
    np.cumsum(np.bincount(sequence_of, minlength=num_sequences), out=starts[1:])
    return PackedDocuments(documents, starts)
