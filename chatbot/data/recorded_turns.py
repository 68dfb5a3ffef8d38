"""A manifest of turns -> dialogues: NeMo's JSON lines, one recording a line, that say which dialogue and side it is of.

::

    {"audio_filepath": "a1.wav", "dialogue": "a", "role": "user", "text": "where is mary", "speaker": "ann"}
    {"audio_filepath": "a2.wav", "dialogue": "a", "role": "assistant", "text": "in the kitchen", "speaker": "bob"}

Turns of a dialogue stand one after the other, in their order; ``text``, ``speaker`` and ``style`` may be missing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from corpus.manifest import BadRecord
from runtime.errors import UserError

from .dialogue_files import Dialogue, parse_dialogue


def read_turns(path: Path | str) -> Iterator[Dialogue | BadRecord]:
    """The dialogues of a manifest; one with a turn that is none comes as a `BadRecord`.

    Raises:
        UserError: no such file, or nothing in it.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(str(file), found="no such manifest", remedy="give JSON lines, one turn of a dialogue each")
    seen: set[str] = set()
    with file.open(encoding="utf-8", errors="replace") as lines:
        numbered = ((number, _record(line)) for number, line in enumerate(lines, 1) if line.strip())
        for id, group in groupby(numbered, key=lambda one: one[1].get("dialogue")):
            turns = list(group)
            try:
                if not isinstance(id, str | int) or str(id) in seen:
                    raise ValueError("no dialogue" if id is None else f"turns of dialogue {id!r} stand apart")
                seen.add(str(id))
                yield parse_dialogue({"id": id, "turns": [_turn(turn) for _, turn in turns]}, "", file.parent, 0)
            except ValueError as error:
                yield BadRecord(f"{file}, line {turns[0][0]}", str(error))
    if not seen:
        remedy = 'write {"audio_filepath": ..., "dialogue": ..., "role": "user"} a line'
        raise UserError(str(file), found="no dialogue", remedy=remedy)


def _record(line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def _turn(record: dict[str, Any]) -> dict[str, Any]:
    """A line as a turn of our format."""
    if not isinstance(record.get("audio_filepath"), str):
        raise ValueError("a turn without audio_filepath")
    named = {name: record[name] for name in ("role", "text", "speaker", "style") if record.get(name) is not None}
    return named | {"audio": record["audio_filepath"]}
