"""The frozen list of a job's units: a file of JSON lines that is read in blocks, so that its length costs no memory."""

from __future__ import annotations

import itertools
import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import overload

from runtime.artefact import atomic_path
from runtime.errors import UserError

from .unit import Unit

UNITS_FILE = "units.jsonl"
FOLDER_UNITS = 1000  # units whose files lie in one folder, and of a block of the list


class UnitList(Sequence[Unit]):
    """The units of a job, in order.

    Args:
        root: the job's folder.

    Raises:
        UserError: no list there, or it is damaged (also when a damaged line is reached).
    """

    def __init__(self, root: Path) -> None:
        self.file = root / UNITS_FILE
        self._offsets, self._length = array("q"), 0
        self._block: tuple[int, list[Unit]] = -1, []
        try:
            with self.file.open("rb") as lines:
                offset = 0
                for line in lines:
                    if self._length % FOLDER_UNITS == 0:
                        self._offsets.append(offset)
                    offset, self._length = offset + len(line), self._length + 1
        except FileNotFoundError as error:
            remedy = "give the folder of a bulk job"
            raise UserError(str(root), found=f"no job (no {UNITS_FILE})", remedy=remedy) from error
        for number in {0, self._length - 1} if self._length else ():
            self[number]  # damage is found early

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, at: int) -> Unit: ...
    @overload
    def __getitem__(self, at: slice) -> list[Unit]: ...
    def __getitem__(self, at: int | slice) -> Unit | list[Unit]:
        if isinstance(at, slice):
            return [self[number] for number in range(*at.indices(self._length))]
        number = range(self._length)[at]
        return self.block(number // FOLDER_UNITS)[number % FOLDER_UNITS]

    def __iter__(self) -> Iterator[Unit]:
        with self.file.open("rb") as lines:
            yield from map(self._parse, lines)

    def block(self, number: int) -> list[Unit]:
        """Block ``number`` of the list, of `FOLDER_UNITS` units (the last one: the rest)."""
        if self._block[0] != number:
            with self.file.open("rb") as lines:
                lines.seek(self._offsets[number])
                units = list(map(self._parse, itertools.islice(lines, FOLDER_UNITS)))
            self._block = number, units
        return self._block[1]

    def _parse(self, line: bytes) -> Unit:
        try:
            return Unit(**json.loads(line))
        except (ValueError, TypeError) as error:
            found, remedy = f"not a list of units ({error})", "begin anew in an empty folder"
            raise UserError(str(self.file), found=found, remedy=remedy) from error


def write_units(root: Path, units: Iterable[Unit]) -> None:
    """Write a job's list: units from the first `FOLDER_UNITS` on get a numbered folder, ``a/b`` -> ``a/0001/b``."""
    hashes, number = set[int](), -1
    with atomic_path(root / UNITS_FILE) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, unit in enumerate(units):
            assert "." not in unit.name, unit.name
            file.write(_line(_in_numbered_folder(unit, number)))
            hashes.add(hash(unit.name))
        assert len(hashes) == number + 1, "two units of one name"


def is_list_of(root: Path, units: Iterable[Unit]) -> bool:
    """Whether these units are the job's list (one without numbered folders, as earlier versions wrote it, too)."""
    with (root / UNITS_FILE).open(encoding="utf-8") as lines:
        pairs = itertools.zip_longest(lines, units)
        return all(
            unit is not None and line in (_line(_in_numbered_folder(unit, number)), _line(unit))
            for number, (line, unit) in enumerate(pairs)
        )


def _in_numbered_folder(unit: Unit, number: int) -> Unit:
    if number < FOLDER_UNITS:
        return unit
    name = PurePosixPath(unit.name)
    return Unit(str(name.parent / f"{number // FOLDER_UNITS:04d}" / name.name), unit.work)


def _line(unit: Unit) -> str:
    return json.dumps({"name": unit.name, "work": unit.work}) + "\n"
