"""Dialogues on disk: JSON lines, the first of which names the speech tokenizer of their tokens.

::

    {"dialogues": 1, "tokenizer": "4ab0…", "codebook_size": 512}
    {"id": "a", "system": "", "turns": [
        {"role": "user", "text": "what is the capital of france", "tokens": [12, 407], "speaker": "ann", "style": ""},
        {"role": "assistant", "text": "it is paris", "audio": "audio/a-1.wav", "speaker": "bob"}]}

User and assistant take turns, the user first, the assistant last. A turn has a text, speech tokens, an audio file
(relative to the file of dialogues), or several of them. Fields that are empty are left out.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from corpus.audio.segments import AudioSegment
from corpus.features import FeatureUtterance
from corpus.json_lines import numbered_lines, parse_json_line, without_mark
from corpus.manifest import BadRecord, check_bad_share, is_number
from runtime.artefact import write_text
from runtime.bulk.unit import ATTEMPT_PREFIX
from runtime.errors import UserError

VERSION = 1
ROLES = ("user", "assistant")
Codes = npt.NDArray[np.uint16]
TurnPart = str | AudioSegment | FeatureUtterance


@dataclass(frozen=True, eq=False, kw_only=True)
class DialogueTurn:
    """One turn of a dialogue.

    Attributes:
        role: ``user`` or ``assistant``.
        text: its words; "" where unknown.
        tokens: (T,) its speech tokens, or None.
        audio: its recording, or None.
        offset: seconds into the recording at which it begins, where the recording holds more; None: the whole.
        duration: seconds of it; None where unknown.
        speaker: the voice; "" where unknown.
        style: manner of speaking in plain words ("slowly"); "" for nothing in particular.
        parts: texts and recordings (or stored vectors of them) in their order, of a question that is read as vectors;
            they are not written to files.
    """

    role: str
    text: str = ""
    tokens: Codes | None = None
    audio: Path | None = None
    offset: float | None = None
    duration: float | None = None
    speaker: str = ""
    style: str = ""
    parts: tuple[TurnPart, ...] = ()

    @property
    def segment(self) -> AudioSegment | None:
        """The stretch of audio that it means."""
        return None if self.audio is None else AudioSegment(self.audio, self.offset, self.duration)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dialogue:
    """Turns in their order; ``system`` is the system prompt."""

    id: str
    turns: list[DialogueTurn]
    system: str = ""

    def exchanges(self) -> list[tuple[DialogueTurn, DialogueTurn]]:
        """(question, reply) of each exchange."""
        return list(zip(self.turns[::2], self.turns[1::2], strict=True))


@dataclass(frozen=True, kw_only=True)
class DialogueFingerprints:
    """The speech tokenizer of a file's tokens; both empty where it holds none.

    Attributes:
        tokenizer: fingerprint of the speech tokenizer.
        codebook_size: its number of codes.
    """

    tokenizer: str = ""
    codebook_size: int = 0

    def line(self) -> str:
        """The first line of a file."""
        record = {"dialogues": VERSION, "tokenizer": self.tokenizer, "codebook_size": self.codebook_size}
        return json.dumps(record) + "\n"


@dataclass(frozen=True)
class DialogueFile:
    """The dialogues of a source, the tokenizer of their tokens, and the records that were left out."""

    dialogues: list[Dialogue]
    fingerprints: DialogueFingerprints
    bad: list[BadRecord]


def read_dialogues(path: Path | str, max_bad_share: float = 0.01) -> DialogueFile:
    """Read a file of dialogues, or all ``*.jsonl`` below a folder in order of name.

    Bad records (`parse_dialogue`) are left out as long as their share is at most ``max_bad_share``.

    Raises:
        UserError: nothing there, no header, files of different tokenizers, too many bad records.
    """
    dialogues: list[Dialogue] = []
    bad: list[BadRecord] = []
    fingerprints: DialogueFingerprints | None = None
    seen: set[str] = set()
    for file in dialogue_files(path):
        with file.open("rb") as lines:
            mine = read_fingerprints(next(lines, b""), file)
            if fingerprints is not None and mine != fingerprints:
                before = fingerprints.tokenizer or "(none)"
                found = f"tokens of tokenizer {mine.tokenizer or '(none)'}, but of {before} before"
                raise UserError(str(file), found=found, remedy="give dialogues of one speech tokenizer")
            fingerprints = mine
            for item in _parse_lines(lines, file, fingerprints.codebook_size):
                if isinstance(item, Dialogue) and item.id in seen:
                    item = BadRecord(str(file), f"id {item.id!r} was used before")
                if isinstance(item, Dialogue):
                    seen.add(item.id)
                    dialogues.append(item)
                else:
                    bad.append(item)
    check_bad_share(bad, len(bad) + len(dialogues), max_bad_share)
    if fingerprints is None or not dialogues:
        raise UserError(str(path), found="no dialogue", remedy="make some with chatbot.dialogues")
    return DialogueFile(dialogues, fingerprints, bad)


def dialogue_files(path: Path | str) -> list[Path]:
    """The files of a source, in order of name."""
    root = Path(path)
    if not root.is_dir():
        files = [root]
    else:
        files = sorted(file for file in root.rglob("*.jsonl") if f".{ATTEMPT_PREFIX}" not in file.name)
    if not files or not files[0].is_file():
        remedy = "give a file of dialogues, or a folder of them: chatbot.dialogues writes <out>/dialogues"
        raise UserError(str(root), found="no dialogues", remedy=remedy)
    return files


def is_dialogue_file(path: Path | str) -> bool:
    """Whether a source is of this kind, by its first line."""
    root = Path(path)
    files = [root] if root.is_file() else sorted(root.rglob("*.jsonl"))
    if not files:
        return False
    with files[0].open("rb") as lines:
        return b'"dialogues"' in lines.readline()


def read_fingerprints(line: bytes, file: Path) -> DialogueFingerprints:
    """The first line of a file.

    Raises:
        UserError: it is none.
    """
    try:
        record = parse_json_line(without_mark(line, 1))
        if record["dialogues"] != VERSION:
            raise ValueError(f"version {record['dialogues']}")
        return DialogueFingerprints(tokenizer=str(record["tokenizer"]), codebook_size=int(record["codebook_size"]))
    except (ValueError, KeyError, TypeError) as error:
        remedy = f'its first line must be like {{"dialogues": {VERSION}, "tokenizer": "4ab0...", "codebook_size": 512}}'
        raise UserError(f"{file}, line 1", found=f"no header of dialogues ({error})", remedy=remedy) from error


def write_dialogues(path: Path | str, dialogues: Iterable[Dialogue], fingerprints: DialogueFingerprints) -> None:
    """Write a file of dialogues, atomically."""
    folder = Path(path).parent.resolve()
    lines = [json.dumps(record_of(dialogue, folder), ensure_ascii=False) + "\n" for dialogue in dialogues]
    write_text(path, fingerprints.line() + "".join(lines))


def record_of(dialogue: Dialogue, folder: Path) -> dict[str, Any]:
    """A dialogue as plain data; audio relative to ``folder``."""
    turns = []
    for turn in dialogue.turns:
        tokens = None if turn.tokens is None else turn.tokens.tolist()
        audio = None if turn.audio is None else os.path.relpath(turn.audio.absolute(), folder)
        record = {"role": turn.role, "text": turn.text, "tokens": tokens, "audio": audio}
        record |= {"offset": turn.offset, "duration": turn.duration, "speaker": turn.speaker, "style": turn.style}
        turns.append({name: value for name, value in record.items() if value not in (None, "")})
    return {"id": dialogue.id} | ({"system": dialogue.system} if dialogue.system else {}) | {"turns": turns}


def parse_dialogue(record: Any, place: str, folder: Path, codebook_size: int) -> Dialogue:
    """A record as a dialogue.

    Args:
        record: plain data.
        place: its id where it has none.
        folder: that audio paths are relative to.
        codebook_size: bound of the codes; 0 where the file holds none.

    Raises:
        ValueError: it is none; the message is the reason.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
    turns = record.get("turns")
    if not isinstance(turns, list) or not turns:
        raise ValueError("no turns")
    parsed = [_parse_turn(turn, number, folder, codebook_size) for number, turn in enumerate(turns, 1)]
    check_order([turn.role for turn in parsed])
    system = record.get("system", "")
    if not isinstance(system, str):
        raise ValueError("system is no text")
    id = record.get("id")
    return Dialogue(id=place if id in (None, "") else str(id), turns=parsed, system=system)


def check_order(roles: list[str]) -> None:
    """Raise a `ValueError` unless user and assistant take turns, the assistant last."""
    for number, role in enumerate(roles):
        if role != ROLES[number % 2]:
            raise ValueError(f"turn {number + 1} is of the {role}, not of the {ROLES[number % 2]}")
    if len(roles) % 2:
        raise ValueError("the last turn has no reply")


def _parse_turn(turn: Any, number: int, folder: Path, codebook_size: int) -> DialogueTurn:
    if not isinstance(turn, Mapping) or turn.get("role") not in ROLES:
        raise ValueError(f"turn {number} has no role user or assistant")
    text, audio, tokens = turn.get("text", ""), turn.get("audio"), turn.get("tokens")
    for name in ("text", "speaker", "style"):
        if not isinstance(turn.get(name, ""), str):
            raise ValueError(f"turn {number}: {name} is no text")
    if audio is not None and not isinstance(audio, str):
        raise ValueError(f"turn {number}: audio is no path")
    if not text.strip() and not tokens and not audio:
        raise ValueError(f"turn {number} has neither text nor tokens nor audio")
    return DialogueTurn(
        role=str(turn["role"]),
        text=text.strip(),
        tokens=_codes(tokens, number, codebook_size) if tokens else None,
        audio=folder / audio if audio else None,
        offset=_seconds(turn, "offset", number),
        duration=_seconds(turn, "duration", number),
        speaker=turn.get("speaker", ""),
        style=turn.get("style", ""),
    )


def _seconds(turn: Mapping[str, Any], name: str, number: int) -> float | None:
    value = turn.get(name)
    if value is None:
        return None
    if not is_number(value) or not 0 <= value < math.inf or (name == "duration" and not value):
        raise ValueError(f"turn {number}: {name} is {value!r}, no number of seconds")
    return float(value)


def _codes(tokens: Any, number: int, codebook_size: int) -> Codes:
    is_sound = isinstance(tokens, list) and all(type(code) is int and 0 <= code < codebook_size for code in tokens)
    if not is_sound:
        raise ValueError(f"turn {number}: tokens are no list of codes below {codebook_size}")
    return np.array(tokens, dtype=np.uint16)


def _parse_lines(lines: Iterable[bytes], file: Path, codebook_size: int) -> Iterator[Dialogue | BadRecord]:
    for number, line in numbered_lines(lines, 2):
        try:
            record = parse_json_line(line)
            yield parse_dialogue(record, f"{file.stem}-{number:07d}", file.parent, codebook_size)
        except ValueError as error:
            yield BadRecord(f"{file}, line {number}", str(error))
