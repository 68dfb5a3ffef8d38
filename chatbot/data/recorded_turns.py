"""A manifest of turns -> dialogues: NeMo's JSON lines, one recording a line, that say which dialogue and side it is of.

::

    {"audio_filepath": "a1.wav", "dialogue": "a", "role": "user", "text": "where is mary", "speaker": "ann"}
    {"audio_filepath": "a2.wav", "dialogue": "a", "role": "assistant", "text": "in the kitchen", "speaker": "bob"}

Turns of a dialogue stand one after the other, in their order; ``text``, ``speaker`` and ``style`` may be missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import BadRecord
from runtime.errors import UserError

from .dialogue_files import Dialogue, parse_dialogue

FIELDS = ("role", "text", "offset", "duration", "speaker", "style")
UNREADABLE = "unreadable"  # key of the reason why a line is no object


def read_turns(path: Path | str) -> Iterator[Dialogue | BadRecord]:
    """The dialogues of a manifest; one with a turn that is none comes as a `BadRecord`.

    Raises:
        UserError: no such file, or nothing in it.
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(str(file), found="no such manifest", remedy="give JSON lines, one turn of a dialogue each")
    seen: set[str] = set()
    with file.open("rb") as lines:
        numbered = ((number, _record(line)) for number, line in numbered_lines(lines))
        for id, group in groupby(numbered, key=lambda one: one[1].get("dialogue")):
            turns = list(group)
            try:
                if id is None and UNREADABLE in turns[0][1]:
                    raise ValueError(turns[0][1][UNREADABLE])
                if not isinstance(id, str | int) or str(id) in seen:
                    raise ValueError("no dialogue" if id is None else f"turns of dialogue {id!r} stand apart")
                seen.add(str(id))
                yield parse_dialogue({"id": id, "turns": [_turn(turn) for _, turn in turns]}, "", file.parent, 0)
            except ValueError as error:
                yield BadRecord(f"{file}, line {turns[0][0]}", str(error))
    if not seen:
        remedy = 'write {"audio_filepath": ..., "dialogue": ..., "role": "user"} a line'
        raise UserError(str(file), found="no dialogue", remedy=remedy)


def _record(line: bytes) -> dict[str, Any]:
    """A line's object; one with the reason where there is none."""
    try:
        record = parse_json_line(line)
    except ValueError as error:
        return {UNREADABLE: str(error)}
    return record if isinstance(record, dict) else {UNREADABLE: f"a JSON {type(record).__name__} instead of an object"}


def _turn(record: dict[str, Any]) -> dict[str, Any]:
    """A line as a turn of our format."""
    if not isinstance(record.get("audio_filepath"), str):
        raise ValueError("a turn without audio_filepath")
    named = {name: record[name] for name in FIELDS if record.get(name) is not None}
    return named | {"audio": record["audio_filepath"]}
