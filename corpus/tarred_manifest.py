"""NeMo's tarred audio: a manifest whose records lie in numbered tars.

::

    <folder>/tarred_audio_manifest.json   NeMo's records with ``shard_id``
             audio_0.tar audio_1.tar ...
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .json_lines import numbered_lines, parse_json_line
from .manifest import BadRecord, Utterance, parse_record

TARRED_MANIFEST = "tarred_audio_manifest.json"


@dataclass
class TarredManifest:
    """The records of a tarred set by shard: file name in the tar -> the utterances in that file."""

    folder: Path
    rows: dict[int, dict[str, list[Utterance]]] = field(default_factory=dict)
    bad: dict[int, list[BadRecord]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> TarredManifest:
        """The records of a manifest; those without a ``shard_id`` are of shard 0."""
        found = cls(Path(os.path.normpath(file.parent.absolute())))
        seen: set[str] = set()
        with file.open("rb") as lines:
            for number, line in numbered_lines(lines):
                shard = 0
                try:
                    record = parse_json_line(line)
                    shard = int(record.get("shard_id") or 0) if isinstance(record, dict) else 0
                    utterance = parse_record(line, file, number, needs_text=False)
                    if utterance.id in seen:
                        raise ValueError(f"id {utterance.id!r} was used before")
                except (ValueError, TypeError) as error:
                    found.bad.setdefault(shard, []).append(BadRecord(f"{file}, line {number}", str(error)))
                else:
                    seen.add(utterance.id)
                    name = found.name_of(str(utterance.audio.absolute()))
                    found.rows.setdefault(shard, {}).setdefault(name, []).append(utterance)
        return found

    def of_shard(self, shard: int) -> tuple[dict[str, list[Utterance]], list[BadRecord]]:
        """The utterances of a shard by the names of their files in the tar, and its bad records."""
        return self.rows.get(shard, {}), self.bad.get(shard, [])

    def name_of(self, path: str) -> str:
        """A path of the manifest or of a tar in one form: relative to the manifest's folder, without ``./`` and ``/``.

        Tars hold absolute paths without the first slash.
        """
        absolute = PurePosixPath(os.path.normpath("/" + path.lstrip("/")))
        is_below = absolute.is_relative_to(self.folder)
        return str(absolute.relative_to(self.folder) if is_below else absolute.relative_to("/"))


def shard_number(tar: Path) -> int:
    """The number in the name of a tar (``audio_17.tar``)."""
    digits = re.findall(r"\d+", tar.stem)
    return int(digits[-1]) if digits else 0
