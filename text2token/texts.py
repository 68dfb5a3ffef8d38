"""Sources of texts in bulk: JSON lines (plain, .gz, .zst) and Parquet (FineWeb-Edu's layout), local or through fsspec.

A source is a file, a folder (with its subfolders, in order of name) or a URL of either (``s3://bucket/data``). A unit
of work reads a part of a file: lines from a byte offset of plain JSON lines, lines of a compressed file, rows of a
Parquet row group.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from corpus.json_lines import numbered_lines
from corpus.manifest import BadRecord
from lm.data.readers import TextDocument, document_of, parse_text
from runtime.errors import UserError

LINES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst")
PARQUET = ".parquet"
BLOCK = 1 << 22  # bytes


@dataclass(frozen=True)
class Columns:
    """The names of the columns (fields) that hold a text and its id."""

    text: str = "text"
    id: str = "id"


@dataclass(frozen=True)
class RecordRange:
    """Some consecutive records of a file.

    Attributes:
        file: path or URL.
        first: number of the first record in the file, from 1 (lines) or 0 (rows).
        count: how many records.
        offset: byte at which they begin (plain JSON lines), or the row group's number (Parquet).
        skip: rows of the row group before the first (Parquet).
    """

    file: str
    first: int
    count: int
    offset: int = 0
    skip: int = 0


def is_url(source: str) -> bool:
    """Whether a source is reached through fsspec."""
    return "://" in source or "::" in source


def list_files(source: str) -> list[str]:
    """The files of a source, in order.

    Raises:
        UserError: none there.
    """
    if is_url(source):
        import fsspec

        system, path = fsspec.core.url_to_fs(source)
        found = [path] if system.isfile(path) else [name for name in system.find(path) if is_text_file(name)]
        files = [system.unstrip_protocol(name) for name in sorted(found)]
    else:
        root = Path(source).absolute()  # workers may start elsewhere
        below = sorted(str(file) for file in root.rglob("*") if is_text_file(file.name)) if root.is_dir() else []
        files = below or ([str(root)] if root.is_file() else [])
    if not files:
        remedy = (
            'give JSON lines {"id": ..., "text": ...} (.jsonl, .jsonl.gz, .jsonl.zst), Parquet, or a folder of them'
        )
        raise UserError(source, found="no texts", remedy=remedy)
    return files


def is_text_file(name: str) -> bool:
    """Whether a file of a folder is read, by its name."""
    return name.endswith((*LINES, PARQUET)) and not name.rsplit("/", 1)[-1].startswith((".", "_"))


def cut_file(file: str, columns: Columns, *, most: int, most_bytes: int) -> Iterator[RecordRange]:
    """The parts of a file.

    Args:
        file: path or URL.
        columns: of the text and id; a Parquet file must have that of the text.
        most: records of a part.
        most_bytes: of a part of JSON lines, unless one line alone has more.
    """
    if file.endswith(PARQUET):
        yield from _cut_parquet(file, columns, most)
        return
    first, count, size, offset, start = 1, 0, 0, 0, 0
    try:
        with open_lines(file) as lines:
            for line in lines:
                if count and (count == most or size + len(line) > most_bytes):
                    yield RecordRange(file, first, count, start)
                    first, count, size, start = first + count, 0, 0, offset
                count, size, offset = count + 1, size + len(line), offset + len(line)
    except (EOFError, zlib.error, OSError) as error:
        if getattr(error, "errno", None):  # of the disk, not of the stream
            raise
        found = f"cannot be decompressed beyond line {first + count} ({error})"
        raise UserError(file, found=found, remedy="copy it again, or remove it") from error
    if count:
        yield RecordRange(file, first, count, start)


def _cut_parquet(file: str, columns: Columns, most: int) -> Iterator[RecordRange]:
    with open_parquet(file) as table:
        if columns.text not in table.schema_arrow.names:
            found, remedy = f"no column {columns.text!r} among {table.schema_arrow.names}", "set text_column"
            raise UserError(file, found=found, remedy=remedy)
        first = 0
        for group in range(table.num_row_groups):
            rows = table.metadata.row_group(group).num_rows
            for skip in range(0, rows, most):
                yield RecordRange(file, first + skip, min(most, rows - skip), group, skip)
            first += rows


class TextReader:
    """Reader of parts of files; a compressed file that is read part by part in order is decompressed once."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._open: tuple[str, int, IO[bytes]] | None = None  # a compressed file, and the next line's number

    def read(self, part: RecordRange) -> Iterator[TextDocument | BadRecord]:
        """The texts of a part, in order; a record without a text yields a `BadRecord`. Blank lines are skipped."""
        stem = PurePosixPath(part.file).name.split(".")[0]
        if part.file.endswith(PARQUET):
            for number, record in enumerate(self._rows(part), part.first):
                try:
                    yield document_of(record, f"{stem}-{number:07d}", self.columns.text, self.columns.id)
                except ValueError as error:
                    yield BadRecord(f"{part.file}, row {number}", str(error))
            return
        for number, line in numbered_lines(self._lines(part), part.first):
            try:
                yield parse_text(line, f"{stem}-{number:07d}", self.columns.text, self.columns.id)
            except ValueError as error:
                yield BadRecord(f"{part.file}, line {number}", str(error))

    def _rows(self, part: RecordRange) -> list[dict[str, Any]]:
        with open_parquet(part.file) as table:
            wanted = [name for name in (self.columns.text, self.columns.id) if name in table.schema_arrow.names]
            group = table.read_row_group(part.offset, columns=wanted)
        return list(group.slice(part.skip, part.count).to_pylist())

    def _lines(self, part: RecordRange) -> Iterator[bytes]:
        if not is_compressed(part.file):
            with open_lines(part.file) as lines:
                lines.seek(part.offset)
                for _ in range(part.count):
                    yield lines.readline()
            return
        lines = self._forward(part)
        for number in range(part.first, part.first + part.count):
            self._open = part.file, number + 1, lines
            yield lines.readline()

    def _forward(self, part: RecordRange) -> IO[bytes]:
        """The part's file, just before its first line."""
        if self._open is not None and (self._open[0] != part.file or self._open[1] > part.first):
            self._open[2].close()
            self._open = None
        _, number, lines = self._open or (part.file, 1, open_lines(part.file))
        for _ in range(part.first - number):
            lines.readline()
        return lines


def is_compressed(file: str) -> bool:
    """Whether a file can only be read from its beginning."""
    return file.endswith((".gz", ".zst"))


def open_lines(file: str) -> IO[bytes]:
    """A file of lines for reading, decompressed."""
    raw = _open(file)
    if file.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), BLOCK)
    if file.endswith(".zst"):
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(raw, compression="zstd"), BLOCK)
    return raw


@contextlib.contextmanager
def open_parquet(file: str) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile`.

    Raises:
        UserError: it is not Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _open(file) as raw:
        try:
            table = pq.ParquetFile(raw)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(
                file, found=f"not readable as Parquet ({error})", remedy="copy it again, or remove it"
            ) from error
        yield table


def _open(file: str) -> IO[bytes]:
    if is_url(file):
        import fsspec

        return fsspec.open(file, "rb").open()
    return Path(file).open("rb", buffering=BLOCK)
