"""Parts of a benchmark: which one a row belongs to, by the names of its file and folders."""

from __future__ import annotations

from collections.abc import Sequence

from .rows import Row

FOLDERS = 3  # above the file that may bear the part's name


def part_of(row: Row, names: Sequence[str]) -> str | None:
    """The part that the row's file, or a folder above it, is named after ("mmsu/law-00000-of-00001": mmsu).

    A file's name counts before its folders'; ``alpacaeval_full`` is not taken for ``alpacaeval``.
    """
    places = [row.stem, *list(reversed(row.folder.parts))[:FOLDERS]]
    for place in (place.lower() for place in places):
        for name in sorted(names, key=len, reverse=True):
            if place == name or place.startswith((f"{name}-", f"{name}_", f"{name}.")):
                return name
    return None
