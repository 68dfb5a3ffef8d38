"""Rows of published sets: JSON lines (plain, .gz, .zst), a JSON list, CSV, TSV, Parquet, Arrow, or folders of them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import BadRecord
from lm.data.text_files import LINES, PARQUET, open_lines, open_parquet
from runtime.errors import UserError

from .item import ItemAudio

TABLES = (".csv", ".tsv")
ARROW = ".arrow"
SUFFIXES = (*LINES, *TABLES, PARQUET, ARROW)
ROWS_A_BATCH = 64
AUDIO_COLUMNS = ("audio", "audio_path", "audio_filepath", "source_wav", "question_audio", "WavPath", "wav")


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        place: file and line (or row), for errors.
        folder: of the file, which relative paths are relative to; those of sets that keep a table for each part in a
            folder of its own, to ``root``.
        stem: of the file's name: the split or subset in many layouts.
        number: of the row in its file, from 0.
        values: by column.
        root: folder that the set is read from, ``folder`` or one above it.
    """

    place: str
    folder: Path
    stem: str
    number: int
    values: Mapping[str, Any]
    root: Path | None = None

    def text(self, *columns: str) -> str:
        """The text of the first of ``columns`` that the row has.

        Raises:
            ValueError: it has none of them, or no text in it.
        """
        for column in columns:
            value = self.values.get(column)
            if value is not None:
                if not isinstance(value, str | int) or isinstance(value, bool) or not str(value).strip():
                    raise ValueError(f"{column} is {value!r}, no text")
                return str(value).strip()
        raise ValueError(f"no column {' or '.join(columns)} (found {', '.join(self.values)})")

    def texts(self, *columns: str) -> tuple[str, ...]:
        """All texts of ``columns``: a list of strings, or one string; each once, in order.

        Raises:
            ValueError: none at all.
        """
        found: dict[str, None] = {}
        for column in columns:
            value = self.values.get(column)
            for one in value if isinstance(value, list | tuple) else [value]:
                if isinstance(one, str | int | float) and not isinstance(one, bool) and str(one).strip():
                    found[str(one).strip()] = None
        if not found:
            raise ValueError(f"no text in {' or '.join(columns)} (found {', '.join(self.values)})")
        return tuple(found)

    def audio(self, *columns: str) -> ItemAudio | None:
        """The audio of the row: a path, or a data set's struct of bytes and path; None where it has no such column.

        Raises:
            ValueError: a file that does not exist, or another value.
        """
        for column in columns or AUDIO_COLUMNS:
            value = self.values.get(column)
            if value is None:
                continue
            if isinstance(value, str):
                return self._audio_file(value)
            if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
                return ItemAudio(f"{self.place}, {column}", content=value["bytes"])
            if isinstance(value, Mapping) and isinstance(value.get("path"), str):
                return self._audio_file(value["path"])
            raise ValueError(f"{column} is a {type(value).__name__}, neither a path nor bytes of a sound file")
        return None

    def _audio_file(self, name: str) -> ItemAudio:
        folders = dict.fromkeys([self.folder, self.root or self.folder])
        files = [folder / name for folder in folders if (folder / name).is_file()]
        if not files:
            elsewhere = "" if len(folders) == 1 or Path(name).is_absolute() else f", nor below {self.root}"
            raise ValueError(f"no audio file {self.folder / name}{elsewhere}")
        return ItemAudio(str(files[0]), file=files[0])


def read_rows(source: Path | str) -> Iterator[Row | BadRecord]:
    """Every row of a file, or of all files below a folder, in order of name; what is no row comes as a `BadRecord`.

    Raises:
        UserError: nothing there, or a file that cannot be read.
    """
    root = Path(source)
    for file in list_set_files(source):
        for number, place, values in _file_rows(file):
            if isinstance(values, Mapping):
                yield Row(place, file.parent, file.name.split(".")[0], number, values, root if root.is_dir() else None)
            else:
                yield BadRecord(place, str(values))


def list_set_files(source: Path | str) -> list[Path]:
    """The tables of a source, in order of name; hidden ones and worked examples are passed over.

    Raises:
        UserError: none there.
    """
    root = Path(source)
    files = [root] if root.is_file() else []
    if root.is_dir():
        below = (file for file in root.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES))
        files = sorted(
            file for file in below if not file.name.startswith((".", "_", "dataset_info", "state.json", "few_shot"))
        )
    if not files or not all(file.name.endswith(SUFFIXES) for file in files):
        remedy = f"give a file or folder of {', '.join(SUFFIXES)} (nothing is downloaded)"
        raise UserError(str(source), found="no table of an evaluation set", remedy=remedy)
    return files


def _file_rows(file: Path) -> Iterator[tuple[int, str, Mapping[str, Any] | ValueError]]:
    try:
        if file.name.endswith((PARQUET, ARROW)):
            for number, row in enumerate(_table_rows(file)):
                yield number, f"{file}, row {number}", row
        elif file.name.endswith(TABLES):
            text = file.read_bytes().decode("utf-8-sig")
            lines = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if file.suffix == ".tsv" else ",")
            for number, cells in enumerate(lines):
                yield number, f"{file}, line {lines.line_num}", cells
        else:
            yield from _json_rows(file)
    except (ImportError, UserError):
        raise
    except Exception as error:  # whatever a reader raises at a broken file
        found = f"cannot be read ({type(error).__name__}: {error})"
        raise UserError(str(file), found=found, remedy="copy it again, or leave it out") from error


def _json_rows(file: Path) -> Iterator[tuple[int, str, Mapping[str, Any] | ValueError]]:
    with open_lines(str(file)) as lines:
        first = lines.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first == b"[":
        with open_lines(str(file)) as lines:
            values = json.loads(lines.read().decode("utf-8-sig"))
        for number, value in enumerate(values):
            is_row = isinstance(value, dict)
            yield number, f"{file}, entry {number}", value if is_row else ValueError(f"a JSON {type(value).__name__}")
        return
    with open_lines(str(file)) as lines:
        for number, (line_number, line) in enumerate(numbered_lines(lines)):
            place = f"{file}, line {line_number}"
            try:
                value = parse_json_line(line)
                yield number, place, value if isinstance(value, dict) else ValueError(f"a JSON {type(value).__name__}")
            except ValueError as error:
                yield number, place, error


def _table_rows(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of Parquet or of Arrow (a stream, as the datasets library writes it, or a file)."""
    if file.name.endswith(PARQUET):
        with open_parquet(str(file)) as table:
            for batch in table.iter_batches(batch_size=ROWS_A_BATCH):
                yield from batch.to_pylist()
        return
    import pyarrow as pa

    with pa.memory_map(str(file)) as mapped:
        try:
            reader = pa.ipc.open_stream(mapped)
            batches: Iterator[Any] = iter(reader)
        except pa.ArrowInvalid:
            opened = pa.ipc.open_file(mapped)
            batches = (opened.get_batch(index) for index in range(opened.num_record_batches))
        for batch in batches:
            yield from batch.to_pylist()
