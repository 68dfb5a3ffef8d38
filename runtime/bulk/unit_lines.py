"""Work of units as lines of a JSON file: a long list is written once, and each unit reads its own stretch of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO


@dataclass(frozen=True)
class UnitLines:
    """A unit's stretch of a list.

    Attributes:
        offset: of its first line, in bytes.
        count: of its lines.
        digest: of them; a resumed job with other lines is refused (`runtime.bulk.job`).
    """

    offset: int
    count: int
    digest: str


def write_unit_lines(values: Iterable[Any], lines: BinaryIO, most: int) -> Iterator[UnitLines]:
    """Write plain data, one value a line; yields the place of each ``most`` of them."""
    start = offset = count = 0
    digest = hashlib.sha256()
    for value in values:
        line = json.dumps(value).encode() + b"\n"
        lines.write(line)
        digest.update(line)
        offset, count = offset + len(line), count + 1
        if count == most:
            yield UnitLines(start, count, digest.hexdigest()[:16])
            start, count, digest = offset, 0, hashlib.sha256()
    if count:
        yield UnitLines(start, count, digest.hexdigest()[:16])


def read_unit_lines(file: Path, offset: int, count: int) -> list[Any]:
    """``count`` values from a byte on, of a file that `write_unit_lines` wrote."""
    with file.open("rb") as lines:
        lines.seek(offset)
        return [json.loads(lines.readline()) for _ in range(count)]
