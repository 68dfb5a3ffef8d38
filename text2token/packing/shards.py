"""Shards of an LM corpus, written by many workers, and their merging into one Megatron `IndexedDataset`.

A shard is two files: ids (``.bin``) and the documents' lengths (``.len``, int32). Merging copies the ids as they are
and writes the index anew from the lengths, shard by shard in bounded memory; Megatron's own ``add_index`` runs the
garbage collector for each shard and holds all in Python lists.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt

IdType = type[np.uint16] | type[np.int32]
HEADER = b"MMIDIDX\x00\x00"  # of an .idx file, then version 1 and the code of the ids' type
VERSION = 1
TYPE_CODES: dict[IdType, int] = {np.uint16: 8, np.int32: 4}
COPIED = 1 << 26  # bytes at a time


class CorpusShardWriter:
    """Writes documents into a shard; a context manager."""

    def __init__(self, ids: Path, lengths: Path, id_type: IdType) -> None:
        self.ids, self.lengths, self.id_type = ids.open("wb"), lengths.open("wb"), id_type

    def add(self, document: npt.NDArray[np.integer]) -> None:
        """Add one document: a row of ids."""
        self.ids.write(document.astype(self.id_type).tobytes())
        self.lengths.write(np.int32(len(document)).tobytes())

    def __enter__(self) -> CorpusShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ids.close()
        self.lengths.close()


def merge_shards(
    prefix: Path, shards: Sequence[tuple[Path, Path]], id_type: IdType, report: Callable[[], None] = lambda: None
) -> None:
    """Write ``<prefix>.bin`` and ``<prefix>.idx``: the documents of all shards (ids, lengths), in their order.

    Args:
        prefix: of the dataset.
        shards: files of ids and of lengths.
        id_type: of the ids.
        report: called after each shard.
    """
    with Path(f"{prefix}.bin").open("wb") as whole:
        for ids, _ in shards:
            with ids.open("rb") as part:
                _append(part, whole)
            report()
    count = sum(lengths.stat().st_size for _, lengths in shards) // 4
    with Path(f"{prefix}.idx").open("wb") as index:
        index.write(HEADER + struct.pack("<QBQQ", VERSION, TYPE_CODES[id_type], count, count + 1))
        for lengths in _lengths(shards):
            index.write(lengths.tobytes())
        place = 0
        for lengths in _lengths(shards):
            ends = np.cumsum(lengths, dtype=np.int64) * np.dtype(id_type).itemsize
            index.write((np.concatenate([[0], ends[:-1]]) + place).astype(np.int64).tobytes())
            place += int(ends[-1])
        first = 0
        for lengths in _lengths(shards):  # documents are of one sequence each
            index.write(np.arange(first, first + len(lengths), dtype=np.int64).tobytes())
            first += len(lengths)
        index.write(np.int64(count).tobytes())


def _lengths(shards: Sequence[tuple[Path, Path]]) -> Iterator[npt.NDArray[np.int32]]:
    for _, file in shards:
        lengths = np.fromfile(file, dtype=np.int32)
        if len(lengths):
            yield lengths


def _append(part: IO[bytes], whole: IO[bytes]) -> None:
    """Append a file, in the kernel where it can."""
    whole.flush()
    left, place = os.fstat(part.fileno()).st_size, 0
    while left:
        moved = _copy(part, whole, min(left, COPIED), place)
        left, place = left - moved, place + moved


def _copy(part: IO[bytes], whole: IO[bytes], count: int, place: int) -> int:
    try:
        return os.copy_file_range(part.fileno(), whole.fileno(), count, offset_src=place)
    except (AttributeError, OSError):  # not Linux, or file systems between which the kernel does not copy
        part.seek(place)
        block = part.read(count)
        whole.write(block)
        whole.flush()
        return len(block)
