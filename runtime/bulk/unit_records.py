"""Done records of a job's units: a journal a worker, which only grows, and for each unit one mark that makes it done.

::

    <folder>/journals/<id>.jsonl    records that one worker proposed, a line each; a new journal every 1,000 records
             journals/<id>.json     the journal's card
             done/<unit>.done.json  the unit's mark: a hard link to the card of the journal that holds its record

A worker appends a record, flushes it to the disk, and links the mark: atomic, and refused where there is one already,
so that the first finisher wins. A record that was refused is followed by a line that says so. Therefore every record
in a journal counts but a refused one and, after a kill, perhaps the last. Marks of earlier versions hold the record.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from array import array
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from runtime.artefact import write_text
from runtime.errors import UserError

from .unit import UnitRecord, done_file
from .unit_list import FOLDER_UNITS, UnitList

OPEN_FILES = 64  # journals that a pass over the records keeps open


class RecordJournal:
    """The journals that this process writes.

    Args:
        root: the job's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.folder = root, root / "journals"
        self._id, self._handle, self._length, self._pid = "", -1, 0, 0

    def commit(self, number: int, name: str, record: UnitRecord) -> bool:
        """Make unit ``number`` of the list, ``name``, done with this record; False if it was done already.

        Raises:
            UserError: no hard link can be made.
        """
        mark = done_file(self.root, name)
        if mark.exists():  # perhaps by this process, whose journal holds a unit's record once only
            return False
        try:
            self._append({"number": number, "name": name, **vars(record)})
            # A network file system may lose the answer to a link that it made, so the outcome of the call decides
            # nothing, but what the mark is afterwards.
            with contextlib.suppress(OSError):
                os.link(self.folder / f"{self._id}.json", mark)
            try:
                is_first = _read_mark(mark).get("journal") == self._id
            except FileNotFoundError as error:
                remedy = "choose a file system that has them"
                raise UserError(str(mark), found="no hard link can be made", remedy=remedy) from error
            if not is_first:
                self._append({"number": number, "is_refused": True})
        except BaseException:
            self.close()  # whatever was appended stays the journal's last line, of which only the mark tells
            raise
        return is_first

    def close(self) -> None:
        """End the journal; the next record begins another one."""
        if self._handle >= 0 and self._pid == os.getpid():
            os.close(self._handle)
        self._handle = -1

    def _append(self, line: dict[str, Any]) -> None:
        if self._handle < 0 or self._pid != os.getpid() or ("name" in line and self._length >= FOLDER_UNITS):
            self.close()
            self._id, self._pid, self._length = secrets.token_hex(8), os.getpid(), 0
            write_text(self.folder / f"{self._id}.json", json.dumps({"journal": self._id}))
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
            self._handle = os.open(self.folder / f"{self._id}.jsonl", flags, 0o644)
        content = json.dumps(line, ensure_ascii=False).encode() + b"\n"
        while content:
            content = content[os.write(self._handle, content) :]
        os.fsync(self._handle)
        self._length += 1


@dataclass
class _Position:
    """Progress in reading a journal.

    Attributes:
        at: number of the journal, in the order in which they were found.
        offset: of the first byte that was not read.
        last: unit and offset of the last record, as long as it is open whether it counts.
        length: records read.
        counted: unit of the last record that counts; -1: none.
    """

    at: int
    offset: int = 0
    last: tuple[int, int] | None = None
    length: int = 0
    counted: int = -1


class RecordLedger:
    """Places of the records in all journals of a job: 12 bytes a unit, whatever the records hold.

    Args:
        root: the job's folder.
        units: its list.
    """

    def __init__(self, root: Path, units: UnitList) -> None:
        self.root, self.units = root, units
        self._journals: list[Path] = []
        self._positions: dict[str, _Position] = {}
        self._journal = array("i", [-1]) * len(units)
        self._offset = array("q", [0]) * len(units)
        self._open: OrderedDict[int, BinaryIO] = OrderedDict()

    def refresh(self) -> Iterator[int]:
        """Read what was appended since the last call; yields the numbers of the units whose records are new."""
        with contextlib.suppress(FileNotFoundError):  # a job of an earlier version, or one that was removed
            for entry in sorted(os.scandir(self.root / "journals"), key=lambda entry: entry.name):
                if entry.name.endswith(".jsonl"):
                    yield from self._read_journal(entry.name)

    def last_numbers(self) -> list[int]:
        """Units of the last records of the journals: only their outputs may lack their final names."""
        return [position.counted for position in self._positions.values() if position.counted >= 0]

    def read(self, number: int) -> UnitRecord | None:
        """The record of a unit; None if no journal that was read has it."""
        at = self._journal[number]
        if at < 0:
            return None
        if at not in self._open:
            self._open[at] = self._journals[at].open("rb")
            if len(self._open) > OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(at)
        self._open[at].seek(self._offset[number])
        return _parse_record(self._open[at].readline())

    def close(self) -> None:
        """Close the files."""
        while self._open:
            self._open.popitem()[1].close()

    def _read_journal(self, name: str) -> Iterator[int]:
        if name not in self._positions:
            self._positions[name] = _Position(len(self._journals))
            self._journals.append(self.root / "journals" / name)
        position = self._positions[name]
        if position.length >= FOLDER_UNITS and position.last is None:
            return  # it is full
        # Network file systems look at the server's copy only when a file is opened.
        with self._journals[position.at].open("rb") as lines:
            lines.seek(position.offset)
            for line in lines:
                if not line.endswith(b"\n"):
                    break  # just being written, or torn by a kill
                is_refusal = line.endswith(b'"is_refused": true}\n')
                if position.last is not None and not is_refusal:
                    yield self._count(position)
                position.last = None if is_refusal else (_number_of(line), position.offset)
                position.length += not is_refusal
                position.offset += len(line)
        if position.last is not None and self._is_marked(position.last[0], name):
            yield self._count(position)

    def _count(self, position: _Position) -> int:
        assert position.last is not None
        number, self._offset[number] = position.last[0], position.last[1]
        self._journal[number] = position.at
        position.last, position.counted = None, number
        return number

    def _is_marked(self, number: int, journal: str) -> bool:
        try:
            return _read_mark(done_file(self.root, self.units[number].name)).get("journal") == journal.split(".")[0]
        except FileNotFoundError:
            return False


def read_record(root: Path, name: str) -> UnitRecord:
    """The record of a unit that is done, by its mark; a search, for single units."""
    mark = _read_mark(done_file(root, name))
    if "journal" not in mark:
        return UnitRecord(**mark)
    journal = root / "journals" / f"{mark['journal']}.jsonl"
    named = f'"name": {json.dumps(name, ensure_ascii=False)}, '.encode()
    try:
        with journal.open("rb") as lines:
            return next(_parse_record(line) for line in lines if named in line[: len(named) + 40])
    except (FileNotFoundError, StopIteration) as error:
        found, remedy = f"no record of unit {name}, which is done", "restore the folder journals/, or begin anew"
        raise UserError(str(journal), found=found, remedy=remedy) from error


def output_file(root: Path, name: str, suffix: str) -> Path:
    """An output file of a unit that is done; finishes its renaming where the committing worker was killed before."""
    final = root / f"{name}.{suffix}"
    if not final.exists():
        with contextlib.suppress(FileNotFoundError):  # another process renames it at the same moment
            (root / f"{name}.{read_record(root, name).attempt}.{suffix}").rename(final)
    return final


def _read_mark(mark: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(mark.read_bytes())
    return content


def _number_of(line: bytes) -> int:
    """The unit's number, with which each line begins; the rest of it is not parsed."""
    return int(line[len(b'{"number": ') : line.index(b",")])


def _parse_record(line: bytes) -> UnitRecord:
    record = json.loads(line)
    del record["number"], record["name"]
    return UnitRecord(**record)
