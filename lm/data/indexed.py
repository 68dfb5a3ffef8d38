"""Files of token ids in the layout of megatron-core's `IndexedDataset`: ids (``.bin``) and an index (``.idx``).

::

    .bin  the ids of all documents, end to end, uint16 or int32
    .idx  MMIDIDX 0 0, version, type code, N, N + 1    "<9sQBQQ"
          length of each document                      int32 (N,)
          its place in .bin, in bytes                  int64 (N,)
          number of its first sequence, and N          int64 (N + 1,), documents are of one sequence each
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.errors import UserError

from .vocabulary import Vocabulary

IdType = type[np.uint16] | type[np.int32]
AddDocument = Callable[[npt.NDArray[np.integer]], None]
HEADER = b"MMIDIDX\x00\x00"
VERSION = 1
TYPE_CODES: dict[IdType, int] = {np.uint16: 8, np.int32: 4}
INDEX_START = struct.Struct("<9sQBQQ")
REMEDY = "copy it again, or make the corpus again (lm.prepare, text2token.pack)"


def id_type(vocabulary: Vocabulary) -> IdType:
    """The type of the ids on disk."""
    return np.uint16 if vocabulary.size < 65500 else np.int32  # DType.optimal_dtype's rule


class IndexedFile:
    """Memory-mapped documents of one ``.bin``/``.idx`` pair that holds at least one.

    Args:
        prefix: of the two files.

    Attributes:
        lengths: ids of each document, int32 (N,).

    Raises:
        UserError: files that are missing, torn or no index of ids.
    """

    def __init__(self, prefix: Path | str) -> None:
        index, ids = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
        try:
            content = np.memmap(index, dtype=np.uint8, mode="r")
            header, version, code, count, _ = INDEX_START.unpack(bytes(content[: INDEX_START.size]))
            types = {code: type for type, code in TYPE_CODES.items()}
            if header != HEADER or version != VERSION or len(content) != INDEX_START.size + 20 * count + 8:
                raise ValueError("not a whole index of ids")
            lengths_end = INDEX_START.size + 4 * count
            self.lengths: npt.NDArray[np.int32] = content[INDEX_START.size : lengths_end].view(np.int32)
            self._places = content[lengths_end : lengths_end + 8 * count].view(np.int64)
            self._ids = np.memmap(ids, dtype=types[code], mode="r")
        except FileNotFoundError as error:
            raise UserError(str(error.filename), found="no such file", remedy=REMEDY) from error
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise UserError(str(index), found=f"cannot be read ({error})", remedy=REMEDY) from error
        end = int(self._places[-1]) // self._ids.itemsize + int(self.lengths[-1])
        if end != len(self._ids):
            raise UserError(str(ids), found=f"{len(self._ids)} ids where the index has {end}", remedy=REMEDY)

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, number: int, offset: int = 0, length: int | None = None) -> npt.NDArray[np.integer]:
        """``length`` ids of a document from ``offset`` on; by default all that are left. A view of the file."""
        count = int(self.lengths[number]) - offset if length is None else length
        start = int(self._places[number]) // self._ids.itemsize + offset
        return self._ids[start : start + count]


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
    _write_index(Path(f"{prefix}.idx"), np.frombuffer(lengths, dtype=np.int32), type)


def _write_index(path: Path, lengths: npt.NDArray[np.int32], type: IdType) -> None:
    count = len(lengths)
    ends = np.cumsum(lengths, dtype=np.int64) * np.dtype(type).itemsize
    with path.open("wb") as index:
        index.write(INDEX_START.pack(HEADER, VERSION, TYPE_CODES[type], count, count + 1))
        index.write(lengths.tobytes())
        index.write((ends - lengths.astype(np.int64) * np.dtype(type).itemsize).tobytes())
        index.write(np.arange(count + 1, dtype=np.int64).tobytes())
