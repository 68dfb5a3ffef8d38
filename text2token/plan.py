"""The bulk job's plan: texts cut into units of work, fixed before the work begins.

A unit is some consecutive lines of one file, for one pass. The plan is written once (``plan.json``) and never changed,
so that a unit means the same to every process that works on it, whenever it was started. A unit is done when its file
exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from corpus.artefact import read_json, write_json
from corpus.errors import UserError
from corpus.manifest import BadRecord
from lm.sources import TextDocument, parse_text, text_files

PLAN_FILE = "plan.json"
SPLITS = ("train", "valid")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Some lines of a file of texts.

    Attributes:
        split: train or valid.
        pass_number: which pass over the texts; each draws other spans.
        number: of the unit within its split and pass.
        file: the texts.
        offset: byte at which the unit's first line begins.
        first_line: number of that line, from 1.
        num_lines: lines of the unit.
    """

    split: str
    pass_number: int
    number: int
    file: str
    offset: int
    first_line: int
    num_lines: int

    @property
    def name(self) -> str:
        """The unit's file, relative to the run folder."""
        return f"{self.split}/pass-{self.pass_number}-unit-{self.number:06d}.parquet"

    def documents(self) -> Iterator[TextDocument | BadRecord]:
        """The unit's texts; a line that is none comes as a `BadRecord`. Blank lines are passed over."""
        with Path(self.file).open("rb") as lines:
            lines.seek(self.offset)
            for number in range(self.first_line, self.first_line + self.num_lines):
                line = lines.readline()
                if not line.strip():
                    continue
                try:
                    yield parse_text(line, f"{Path(self.file).stem}-{number:07d}")
                except ValueError as error:
                    yield BadRecord(f"{self.file}, line {number}", str(error))


def make_plan(folder: Path, sources: dict[str, str], *, passes: int, unit_lines: int) -> list[Unit]:
    """The plan in ``folder``; made, if no call before this one has made it.

    Args:
        folder: the run folder.
        sources: split -> file or folder of texts ("" = none).
        passes: passes over the training texts; held-out texts are gone through once.
        unit_lines: lines of a unit.
    """
    if (folder / PLAN_FILE).exists():
        return read_plan(folder)
    units = []
    for split, source in sources.items():
        cuts = [cut for file in (text_files(source) if source else []) for cut in _cut(file, unit_lines)]
        units += [
            Unit(
                split=split,
                pass_number=pass_number,
                number=number,
                file=str(file),
                offset=offset,
                first_line=first_line,
                num_lines=num_lines,
            )
            for pass_number in range(passes if split == "train" else 1)
            for number, (file, offset, first_line, num_lines) in enumerate(cuts)
        ]
    if not any(unit.split == "train" for unit in units):
        raise UserError(sources["train"], found="an empty file", remedy='write one {"id": ..., "text": ...} a line')
    write_json(folder / PLAN_FILE, {"units": [asdict(unit) for unit in units]})
    return units


def read_plan(folder: Path) -> list[Unit]:
    """The plan that a run folder holds."""
    record = read_json(folder / PLAN_FILE)
    try:
        return [Unit(**unit) for unit in record["units"]]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        found, remedy = f"not a plan ({error})", "run text2token.synthesize into a new folder"
        raise UserError(str(folder / PLAN_FILE), found=found, remedy=remedy) from error


def _cut(file: Path, unit_lines: int) -> Iterator[tuple[Path, int, int, int]]:
    """(file, byte offset, first line, lines) of the units of a file."""
    start, first, offset, number = 0, 1, 0, 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            offset += len(line)
            if number - first + 1 == unit_lines:
                yield file, start, first, unit_lines
                start, first = offset, number + 1
    if number >= first:
        yield file, start, first, number - first + 1
