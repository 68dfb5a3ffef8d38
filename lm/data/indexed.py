"""Files of token ids in the layout of megatron-core's `IndexedDataset`: ids (``.bin``) and an index (``.idx``).

::

    .bin  the ids of all documents, end to end, uint16 or int32
    .idx  MMIDIDX 0 0, version, type code, N, N + 1    "<9sQBQQ"
          length of each document                      int32 (N,)
          its place in .bin, in bytes                  int64 (N,)
          number of its first sequence, and N          int64 (N + 1,), documents are of one sequence each

Many workers write shards: ids, and lengths as plain int32 (``.len``). Merging copies the ids as they are and writes the
index from the lengths, shard by shard in bounded memory; Megatron's own ``add_index`` runs the garbage collector for
each shard and holds all in Python lists.
"""

from __future__ import annotations

import os
import struct
import warnings
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .vocabulary import Vocabulary

IdType = type[np.uint16] | type[np.int32]
Lengths = npt.NDArray[np.int32]
AddDocument = Callable[[npt.NDArray[np.integer]], None]
HEADER = b"MMIDIDX\x00\x00"
VERSION = 1
TYPE_CODES: dict[IdType, int] = {np.uint16: 8, np.int32: 4}
COPIED = 1 << 26  # bytes at a time


def id_type(vocabulary: Vocabulary) -> IdType:
    """The type of the ids on disk."""
    return np.uint16 if vocabulary.size < 65500 else np.int32  # DType.optimal_dtype's rule


def open_indexed(prefix: Path | str) -> Any:
    """megatron-core's `IndexedDataset` of ``<prefix>.bin``; its import warns that Apex is missing, which is no harm."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from megatron.core.datasets.indexed_dataset import IndexedDataset
    return IndexedDataset(str(prefix))


@contextmanager
def write_indexed(prefix: Path | str, type: IdType) -> Iterator[AddDocument]:
    """Write ``<prefix>.bin``, and ``<prefix>.idx`` when the block is left without an error; yields the function that
    adds a document, a row of ids.
    """
    lengths = array("i")
    with Path(f"{prefix}.bin").open("wb") as ids:

        def add(document: npt.NDArray[np.integer]) -> None:
            ids.write(document.astype(type).tobytes())
            lengths.append(len(document))

        yield add
    write_index(Path(f"{prefix}.idx"), lambda: iter([np.frombuffer(lengths, dtype=np.int32)]), type)


@contextmanager
def write_shard(ids: Path, lengths: Path, type: IdType) -> Iterator[AddDocument]:
    """Write a shard; yields the function that adds a document, a row of ids."""
    with ids.open("wb") as id_file, lengths.open("wb") as length_file:

        def add(document: npt.NDArray[np.integer]) -> None:
            id_file.write(document.astype(type).tobytes())
            length_file.write(np.int32(len(document)).tobytes())

        yield add


def merge_shards(
    prefix: Path, shards: Sequence[tuple[Path, Path]], type: IdType, report: Callable[[], None] = lambda: None
) -> None:
    """Write ``<prefix>.bin`` and ``<prefix>.idx``: the documents of all shards (ids, lengths), in their order.

    Args:
        prefix: of the dataset.
        shards: files of ids and of lengths.
        type: of the ids.
        report: called after each shard.
    """
    with Path(f"{prefix}.bin").open("wb") as whole:
        for ids, _ in shards:
            with ids.open("rb") as part:
                _append(part, whole)
            report()
    write_index(Path(f"{prefix}.idx"), lambda: (np.fromfile(file, dtype=np.int32) for _, file in shards), type)


def write_index(path: Path, lengths: Callable[[], Iterator[Lengths]], type: IdType) -> None:
    """Write an index.

    Args:
        path: of the ``.idx`` file.
        lengths: the documents' lengths piece by piece; called once for each column of the index.
        type: of the ids.
    """
    count = sum(len(piece) for piece in lengths())
    with path.open("wb") as index:
        index.write(HEADER + struct.pack("<QBQQ", VERSION, TYPE_CODES[type], count, count + 1))
        for piece in lengths():
            index.write(piece.tobytes())
        place = 0
        for piece in lengths():
            ends = place + np.cumsum(piece, dtype=np.int64) * np.dtype(type).itemsize
            index.write(np.concatenate([[place], ends])[:-1].astype(np.int64).tobytes())
            place = int(ends[-1]) if len(ends) else place
        first = 0
        for piece in lengths():
            index.write(np.arange(first, first + len(piece), dtype=np.int64).tobytes())
            first += len(piece)
        index.write(np.int64(count).tobytes())


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
