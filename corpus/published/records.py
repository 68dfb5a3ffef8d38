"""Records of a published corpus' own lists: what a reader of a folder layout yields, and the parts that readers share.

A reader is a function ``folder -> splits``; a split's records are read when they are asked for, one by one and in the
same order each time. It looks at lists and names only: the audio is opened later (`corpus.published.probe`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from corpus.json_lines import numbered_lines, parse_json_line, without_mark
from corpus.manifest import BadRecord
from runtime.errors import UserError

UNKNOWN_SPEAKERS = ("", "N/A", "None", "unknown")
ARCHIVES = (".tar", ".tgz", ".gz", ".zip")
BLOCK = 1 << 20  # characters read at a time of a long JSON file


class ListedUtterance(NamedTuple):
    """One utterance as its corpus lists it.

    Attributes:
        place: of its entry in the list, for errors: file and line.
        id: unique in the split.
        audio: the file.
        text: the transcript; "" where the corpus has none.
        speaker: as the corpus names it; "" where unknown.
        lang: ISO 639-1 code.
        offset: seconds from the beginning of the file, of a segment; None: the whole file.
        duration: seconds of a segment; None where the file says it.
    """

    place: str
    id: str
    audio: Path
    text: str
    speaker: str
    lang: str
    offset: float | None = None
    duration: float | None = None


Records = Iterator[ListedUtterance | BadRecord]


@dataclass(frozen=True)
class SpeechSplit:
    """A part of a corpus.

    Attributes:
        name: of the manifest or folder that is written.
        records: reads its records.
        is_default: it is imported where no split is named; False of parts that overlap with others or lack transcripts.
    """

    name: str
    records: Callable[[], Records]
    is_default: bool = True


def inner_folder(source: Path, *names: str) -> Path:
    """The first of these folders that ``source`` holds, else ``source`` itself."""
    return next((source / name for name in names if (source / name).is_dir()), source)


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; hidden ones are left out."""
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def needed(path: Path, meaning: str) -> Path:
    """A file or folder that a corpus cannot be read without.

    Raises:
        UserError: it is not there.
    """
    if not path.exists():
        raise UserError(str(path), found=f"no such file or folder ({meaning})", remedy="unpack all of the corpus there")
    return path


def unpacked(folder: Path) -> Path:
    """A folder of audio.

    Raises:
        UserError: it is missing, or holds nothing but archives.
    """
    archives = []
    for entry in needed(folder, "the audio").iterdir():
        if not entry.name.endswith(ARCHIVES):
            return folder
        archives.append(entry.name)
    if archives:
        found = f"{len(archives)} archives ({min(archives)}, ...) that are not unpacked"
        raise UserError(str(folder), found=found, remedy="unpack each of them there")
    return folder


def text_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Place and text of each line of a UTF-8 file, blank lines left out; bytes that are no UTF-8 become U+FFFD."""
    with needed(file, "the list of the utterances").open("rb") as lines:
        for number, line in numbered_lines(lines):
            yield f"{file}, line {number}", line.decode("utf-8", errors="replace")


def table_rows(
    lines: Iterable[bytes], file: Path, separator: str, columns: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]] | BadRecord]:
    """Place and cells by column of each line of a table with a header, without quoting; a short line is a `BadRecord`.

    Raises:
        UserError: a column is missing.
    """
    header: list[str] = []
    for number, line in enumerate(lines, 1):
        cells = (without_mark(line, 1) if number == 1 else line.rstrip(b"\r\n")).decode("utf-8", "replace")
        if not header:
            header = cells.split(separator)
            if missing := [name for name in columns if name not in header]:
                found = f"no column {missing[0]} (it has {', '.join(header)[:200]})"
                raise UserError(str(file), found=found, remedy="use the list as the corpus publishes it")
            continue
        if not cells.strip():
            continue
        place, row = f"{file}, line {number}", dict(zip(header, cells.split(separator), strict=False))
        yield BadRecord(place, "fewer cells than columns") if set(columns) - set(row) else (place, row)


def json_records(file: Path) -> Iterator[tuple[str, dict[str, Any]] | BadRecord]:
    """Place and object of each line of a file of JSON lines."""
    with needed(file, "the list of the utterances").open("rb") as lines:
        for number, line in numbered_lines(lines):
            place = f"{file}, line {number}"
            try:
                value = parse_json_line(line)
            except ValueError as error:
                yield BadRecord(place, str(error))
            else:
                yield (place, value) if isinstance(value, dict) else BadRecord(place, "no JSON object")


def array_elements(file: Path, key: str) -> Iterator[Any]:
    """The elements of the array under ``key`` in a JSON file, one by one: the file is never in memory as a whole.

    Raises:
        UserError: no such array, or the JSON breaks off.
    """
    decoder, mark = json.JSONDecoder(), f'"{key}"'
    with needed(file, "the list of the recordings").open(encoding="utf-8") as stream:
        text, at = "", -1
        while at < 0:
            if not (block := stream.read(BLOCK)):
                raise UserError(str(file), found=f"no array {mark}", remedy="download the file again")
            text += block
            at = text.find("[", text.find(mark)) if mark in text else -1
        at += 1
        while True:
            while at < len(text) and text[at] in " \t\r\n,":
                at += 1
            if text.startswith("]", at):
                return
            try:
                value, at = decoder.raw_decode(text, at)
            except json.JSONDecodeError as error:
                # The rest of a long element is read in blocks that double, so that it is tried a few times only.
                if not (block := stream.read(max(BLOCK, len(text) - at))):
                    reason = f"the array {mark} breaks off ({error.msg})"
                    raise UserError(str(file), found=reason, remedy="download the file again") from error
                text, at = text[at:] + block, 0
            else:
                yield value
