"""Texts in bulk: JSON lines (plain, .gz, .zst) and Parquet (FineWeb-Edu's layout), local or through fsspec.

A source is a file, a folder (with its subfolders, in order of name) or a URL of either (``s3://bucket/data``). Work on
it is cut by records, where each costs much (`cut_file`), or by bytes, without reading what is cut (`file_parts`).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from corpus.json_lines import numbered_lines, parse_json_line, without_mark
from corpus.manifest import BadRecord, check_bad_share
from runtime.errors import UserError

LINES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst")
PARQUET = ".parquet"
BLOCK = 1 << 22  # bytes
COMPRESSED_BLOCK = 1 << 16  # bytes of text: where a stream breaks off, those of the last block are lost
TO_END = -1  # end of a part: that of the file
BROKEN_REMEDY = "copy it again, or remove it"
EMPTY = "an empty file"
INFLATION = 4  # bytes of text that a byte of a compressed file is taken for


@dataclass(frozen=True)
class TextDocument:
    """One text; ``id`` is unique within its source (file name and line where the record gives none)."""

    id: str
    text: str


@dataclass(frozen=True)
class Texts:
    """The texts of a source, in order, and the records that were left out."""

    documents: list[TextDocument]
    bad: list[BadRecord]


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


class FilePart(NamedTuple):
    """A part of a file: the lines that begin in some bytes, or row groups of Parquet.

    Attributes:
        file: path or URL.
        start: the first byte, where a line begins; or row group.
        end: that of the next part, or `TO_END`; compressed lines are read to their end.
    """

    file: str
    start: int = 0
    end: int = TO_END


class SizedPart(NamedTuple):
    """A part and its bytes of text, roughly."""

    part: FilePart
    size: int


class BrokenFile(NamedTuple):
    """A file that cannot be read, from a place on or at all, and the reason."""

    file: str
    reason: str


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
        raise UserError(file, found=found, remedy=BROKEN_REMEDY) from error
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


def file_parts(file: str, most_bytes: int) -> Iterator[SizedPart]:
    """The parts of a file of texts, of about ``most_bytes`` each; a compressed file of lines is one.

    Nothing is read but a line at each cut, or Parquet's footer. A broken file is one part, too.
    """
    if file.endswith(PARQUET):
        yield from _parquet_parts(file, most_bytes)
        return
    size = _size(file)
    if is_compressed(file):
        yield SizedPart(FilePart(file), size * INFLATION)
        return
    start = 0
    with open_lines(file) as lines:
        while start + most_bytes < size:
            lines.seek(start + most_bytes - 1)
            lines.readline()
            end = lines.tell()
            yield SizedPart(FilePart(file, start, end), end - start)
            start = end
    if start < size or not size:
        yield SizedPart(FilePart(file, start), size - start)


def _parquet_parts(file: str, most_bytes: int) -> Iterator[SizedPart]:
    try:
        with open_parquet(file) as table:
            sizes = [table.metadata.row_group(group).total_byte_size for group in range(table.num_row_groups)]
    except UserError:
        sizes = []
    if not sizes:  # broken, or without a row: its reader says which
        yield SizedPart(FilePart(file), 0)
    start = size = 0
    for group, own in enumerate(sizes):
        size += own
        if size >= most_bytes or group + 1 == len(sizes):
            yield SizedPart(FilePart(file, start, group + 1), size)
            start, size = group + 1, 0


def _size(file: str) -> int:
    if is_url(file):
        import fsspec

        system, path = fsspec.core.url_to_fs(file)
        return int(system.size(path))
    return Path(file).stat().st_size


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
                yield self._of_row(record, part.file, stem, number)
            return
        for number, line in numbered_lines(self._lines(part), part.first):
            try:
                yield parse_text(line, f"{stem}-{number:07d}", self.columns.text, self.columns.id)
            except ValueError as error:
                yield BadRecord(f"{part.file}, line {number}", str(error))

    def read_part(self, part: FilePart) -> Iterator[TextDocument | BadRecord | BrokenFile]:
        """The texts of a part by bytes, in order, as `read`; what cannot be read ends with a `BrokenFile`."""
        yield from self._parquet_part(part) if part.file.endswith(PARQUET) else self._line_part(part)

    def _parquet_part(self, part: FilePart) -> Iterator[TextDocument | BadRecord | BrokenFile]:
        import pyarrow as pa

        stem = PurePosixPath(part.file).name.split(".")[0]
        try:
            with open_parquet(part.file) as table:
                names = table.schema_arrow.names
                if self.columns.text not in names:
                    if not part.start:  # a file is named once
                        yield BrokenFile(part.file, f"no column {self.columns.text!r} among {names}")
                    return
                if not table.metadata.num_rows:
                    yield BadRecord(part.file, EMPTY)
                groups = range(table.num_row_groups)
                number = sum(table.metadata.row_group(group).num_rows for group in groups[: part.start])
                wanted = [name for name in (self.columns.text, self.columns.id) if name in names]
                for group in groups[part.start : None if part.end == TO_END else part.end]:
                    for record in table.read_row_group(group, columns=wanted).to_pylist():
                        yield self._of_row(record, part.file, stem, number)
                        number += 1
        except UserError as error:
            yield BrokenFile(part.file, error.found)
        except (pa.ArrowException, OSError, ValueError) as error:
            if getattr(error, "errno", None):  # of the disk, not of the file's content
                raise
            yield BrokenFile(part.file, f"not readable as Parquet ({error})")

    def _line_part(self, part: FilePart) -> Iterator[TextDocument | BadRecord | BrokenFile]:
        stem = PurePosixPath(part.file).name.split(".")[0]
        number = position = 0
        before: int | None = None  # lines before the part, counted where a line is to be named
        try:
            with open_lines(part.file) as lines:
                if part.start:
                    lines.seek(part.start)
                    position = part.start
                for number, line in enumerate(lines, 1):
                    position += len(line)
                    if content := without_mark(line, number if not part.start else number + 1):
                        try:
                            id = f"{stem}-{part.start}-{number:07d}" if part.start else f"{stem}-{number:07d}"
                            yield parse_text(content, id, self.columns.text, self.columns.id)
                        except ValueError as error:
                            before = _num_lines(part) if before is None else before
                            yield BadRecord(f"{part.file}, line {before + number}", str(error))
                    if part.end != TO_END and position >= part.end:
                        break
                if not position:
                    yield BadRecord(part.file, EMPTY)
        except (EOFError, zlib.error, OSError) as error:
            if getattr(error, "errno", None):  # of the disk, not of the stream
                raise
            yield BrokenFile(part.file, f"cannot be decompressed beyond line {number} ({error})")

    def _of_row(self, record: Mapping[str, Any], file: str, stem: str, number: int) -> TextDocument | BadRecord:
        """Row ``number`` of a Parquet file, from 0; ``stem`` of the file is in its id where it has none."""
        try:
            return document_of(record, f"{stem}-{number:07d}", self.columns.text, self.columns.id)
        except ValueError as error:
            return BadRecord(f"{file}, row {number}", str(error))

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


def _num_lines(part: FilePart) -> int:
    """Lines of a file before a part."""
    count, left = 0, part.start
    with open_lines(part.file) as lines:
        while left and (block := lines.read(min(left, BLOCK))):
            count, left = count + block.count(b"\n"), left - len(block)
    return count


def parse_text(line: bytes, place: str, text_column: str = "text", id_column: str = "id") -> TextDocument:
    """One JSON line as a text. The id defaults to ``place``.

    Raises:
        ValueError: the line is no JSON object with a text that holds a word; the message is the reason.
    """
    record = parse_json_line(line)
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
    return document_of(record, place, text_column, id_column)


def document_of(
    record: Mapping[str, Any], place: str, text_column: str = "text", id_column: str = "id"
) -> TextDocument:
    """A record as a text; raises as `parse_text`."""
    if text_column not in record:
        raise ValueError(f"no field {text_column}, only {', '.join(record) or 'none'}")
    text = record[text_column]
    if text is not None and not isinstance(text, str):
        raise ValueError(f"the field {text_column} holds {type(text).__name__}, not a text")
    if not text or not text.strip():
        raise ValueError("an empty text")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # a lone surrogate from a \\ud83d escape
        raise ValueError(f"text that is no Unicode ({error.reason})") from error
    return TextDocument(str(record.get(id_column) or place), text)


def iterate_texts(
    source: Path | str, columns: Columns | None = None
) -> Iterator[TextDocument | BadRecord | BrokenFile]:
    """Every text of a source, in order, as `TextReader.read_part` yields them."""
    reader = TextReader(columns or Columns())
    for file in list_files(str(source)):
        yield from reader.read_part(FilePart(file))


def read_texts(path: Path | str, max_bad_share: float = 0.01) -> Texts:
    """Read a source of texts; bad lines are left out as long as their share is at most ``max_bad_share``.

    Raises:
        UserError: nothing there, or too many bad lines (the first is named).
    """
    texts = Texts([], [])
    for item in iterate_texts(path):
        if isinstance(item, TextDocument):
            texts.documents.append(item)
        elif isinstance(item, BadRecord):
            texts.bad.append(item)
        else:
            raise UserError(item.file, found=item.reason, remedy=BROKEN_REMEDY)
    check_bad_share(texts.bad, len(texts.documents) + len(texts.bad), max_bad_share)
    if not texts.documents:
        raise UserError(str(path), found="an empty file", remedy='write one {"id": ..., "text": ...} a line')
    return texts


def is_compressed(file: str) -> bool:
    """Whether a file can only be read from its beginning."""
    return file.endswith((".gz", ".zst"))


def open_lines(file: str) -> IO[bytes]:
    """A file of lines for reading, decompressed."""
    raw = _open(file)
    if file.endswith(".gz"):
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), COMPRESSED_BLOCK)
    if file.endswith(".zst"):
        import pyarrow as pa

        return io.BufferedReader(pa.input_stream(raw, compression="zstd"), COMPRESSED_BLOCK)
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
            raise UserError(file, found=f"not readable as Parquet ({error})", remedy=BROKEN_REMEDY) from error
        yield table


def _open(file: str) -> IO[bytes]:
    if is_url(file):
        import fsspec

        return fsspec.open(file, "rb").open()
    return Path(file).open("rb", buffering=BLOCK)
