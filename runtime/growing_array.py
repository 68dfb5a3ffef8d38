"""Growing ``.npy`` files: rows are appended, the header's length is written at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class GrowingArray:
    """A ``.npy`` file that is appended to.

    Args:
        path: of the file.
        type: of the elements.
        row: shape of a row; (): a one-dimensional array.
    """

    def __init__(self, path: Path, type: np.dtype[Any], row: tuple[int, ...] = ()) -> None:
        self.type, self.row = type, row
        self._file, self._length = path.open("wb"), 0
        self._write_header()

    def __len__(self) -> int:
        return self._length

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Add rows at the end."""
        assert rows.dtype == self.type and rows.shape[1:] == self.row
        self._file.write(rows.tobytes())
        self._length += len(rows)

    def close(self) -> None:
        """Write the final length into the header."""
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        size = self.type.itemsize * int(np.prod(self.row))
        assert self._file.tell() + self._length * size == end  # NumPy's headers leave room to grow
        self._file.close()

    def _write_header(self) -> None:
        shape = (self._length, *self.row)
        header = {"descr": np.lib.format.dtype_to_descr(self.type), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


@contextmanager
def growing_array(path: Path, type: np.dtype[Any], row: tuple[int, ...] = ()) -> Iterator[GrowingArray]:
    """A `GrowingArray` that is closed at the end."""
    array = GrowingArray(path, type, row)
    try:
        yield array
    finally:
        array.close()
