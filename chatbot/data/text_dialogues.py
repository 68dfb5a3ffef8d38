"""Dialogues as others publish them: JSON lines (plain, .gz, .zst), a JSON list or Parquet, in three layouts.

::

    {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}     ShareGPT, Magpie
    {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]} OpenAI
    {"instruction": ..., "response": ...}                                                   Magpie, Alpaca (output)

Questions may have recordings (`chatbot.data.audio_layouts`) where the reader takes them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from corpus.audio.segments import AudioSegment
from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import BadRecord
from lm.data.text_files import PARQUET, list_files, open_lines, open_parquet
from runtime.errors import UserError

from .audio_layouts import PLACEHOLDER, ClipCountError, Parts, has_audio, recording, recordings_of, spread
from .dialogue_files import Dialogue, DialogueTurn, TurnPart, check_order

SIDES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
IDS = ("id", "uuid", "conversation_id")
ROWS = 256  # of Parquet, held at once


def read_text_dialogues(source: str, *, takes_audio: bool = False) -> Iterator[Dialogue | BadRecord]:
    """Every dialogue of a source (a file, a folder, a URL), in order; what is none comes as a `BadRecord`.

    A question at the end that has no answer is left out; an empty system prompt is none.

    Args:
        source: to be read.
        takes_audio: questions may have recordings, as `DialogueTurn.parts`; else their dialogues are bad records.

    Raises:
        UserError: nothing there, a file that cannot be read, or recordings and placeholders that differ in number.
    """
    for file in list_files(source):
        stem = PurePosixPath(file).name.split(".")[0]
        records = _parquet_records(file) if file.endswith(PARQUET) else _line_records(file)
        for place, number, record in records:
            try:
                if isinstance(record, ValueError):
                    raise record
                dialogue = dialogue_of(record, f"{stem}-{number:07d}")
                if takes_audio:
                    yield _placed(dialogue, Path(file).parent)
                elif any(turn.parts for turn in dialogue.turns):
                    raise ValueError("a dialogue with recordings, which only chatbot.prepare speech=vectors reads")
                else:
                    yield dialogue
            except ClipCountError as error:
                remedy = "correct the record: each recording takes the place of one placeholder"
                raise UserError(place, found=str(error), remedy=remedy) from error
            except ValueError as error:
                yield BadRecord(place, str(error))


def dialogue_of(record: Any, place: str) -> Dialogue:
    """A record of any of the layouts as a dialogue; its id defaults to ``place``.

    Raises:
        ValueError: it is none; the message is the reason.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
    said = _said(record)
    if any(has_audio(parts) for side, parts in said if side != "user"):
        raise ValueError("a recording that is no question")
    system = "\n".join(_words(parts) for side, parts in said if side == "system")
    if any(side == "system" for side, _ in said[1:]):
        raise ValueError("a system prompt in the midst of it")
    said = [one for one in said if one[0] != "system"]
    if said and said[-1][0] == "user":
        said = said[:-1]
    if not said:
        raise ValueError("no question with an answer")
    check_order([side for side, _ in said])
    id = next((str(record[name]) for name in IDS if record.get(name) not in (None, "")), place)
    return Dialogue(id=id, system=system, turns=[_turn(side, parts) for side, parts in said])


def _turn(side: str, parts: Parts) -> DialogueTurn:
    return DialogueTurn(role=side, parts=parts) if has_audio(parts) else DialogueTurn(role=side, text=_words(parts))


def _words(parts: Parts) -> str:
    return "\n".join(part for part in parts if isinstance(part, str))


def _placed(dialogue: Dialogue, folder: Path) -> Dialogue:
    """The dialogue with its recordings' paths relative to the working directory, not to the file's folder."""

    for turn in dialogue.turns:
        if turn.role == "user" and not turn.parts and (unmatched := PLACEHOLDER.findall(turn.text)):
            raise ClipCountError(f"no recording and {len(unmatched)} placeholders (<audio>, <sound>)")

    def placed(part: TurnPart) -> TurnPart:
        return replace(part, audio=folder / part.audio) if isinstance(part, AudioSegment) else part

    turns = [replace(turn, parts=tuple(placed(part) for part in turn.parts)) for turn in dialogue.turns]
    return replace(dialogue, turns=turns)


def _said(record: Mapping[str, Any]) -> list[tuple[str, Parts]]:
    """(side, parts) of each message; messages of one side in a row are one where some of them are recordings."""
    for layout, side, text in (("conversations", "from", "value"), ("messages", "role", "content")):
        if record.get(layout) is not None:
            messages = _sequence(record[layout], layout)
            return _with_recordings(record, [_message(one, side, text) for one in messages], messages)
    answer = record.get("response", record.get("output"))
    if isinstance(record.get("instruction"), str) and isinstance(answer, str):
        more = record.get("input")
        asked = f"{record['instruction']}\n{more}" if isinstance(more, str) and more.strip() else record["instruction"]
        return [("user", (_text(asked),)), ("assistant", (_text(answer),))]
    raise ValueError("neither conversations nor messages nor instruction and response")


def _with_recordings(
    record: Mapping[str, Any], said: list[tuple[str, Parts]], messages: list[Any]
) -> list[tuple[str, Parts]]:
    """Messages with the recordings that their record, or they themselves, list in the place of placeholders."""
    listed = recordings_of(record)
    if listed is not None:
        return [
            (side, parts) for (side, _), parts in zip(said, spread([_words(p) for _, p in said], listed), strict=True)
        ]
    found = []
    for (side, parts), message in zip(said, messages, strict=True):
        own = recordings_of(message, ("audios",))
        found.append((side, parts if own is None else spread([_words(parts)], own)[0]))
    return _joined(found) if any(has_audio(parts) for _, parts in found) else found


def _joined(said: list[tuple[str, Parts]]) -> list[tuple[str, Parts]]:
    joined: list[tuple[str, Parts]] = []
    for side, parts in said:
        if joined and joined[-1][0] == side:
            parts = joined.pop()[1] + parts
        joined.append((side, parts))
    return joined


def _sequence(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} is no list of messages")
    return value


def _message(message: Any, side: str, text: str) -> tuple[str, Parts]:
    given = message.get(side) if isinstance(message, Mapping) else message
    known = SIDES.get(given.lower()) if isinstance(given, str) else None
    if known is None or not isinstance(message, Mapping):
        raise ValueError(f"a message of {given!r}, who is neither user nor assistant")
    content = message.get(text)
    if message.get("type") == "audio":  # NeMo's
        return known, (
            recording({"audio": content, "offset": message.get("offset"), "duration": message.get("duration")}),
        )
    if isinstance(content, list):  # OpenAI's parts
        return known, _parts(content)
    if known == "system" and not content:
        return known, ("",)
    return known, (_text(content),)


def _parts(content: list[Any]) -> Parts:
    parts: list[str | AudioSegment] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "audio":
            parts.append(recording(part))
        elif kind == "text":
            parts.append(str(part.get("text", "")))
        else:
            raise ValueError("a message with parts that are no text")
    if not any(isinstance(part, AudioSegment) for part in parts):
        return (_text("\n".join(str(part) for part in parts)),)
    return tuple(part for part in parts if not isinstance(part, str) or part.strip())


def _text(content: Any) -> str:
    if not isinstance(content, str) or not content.strip():
        raise ValueError("an empty message")
    try:
        content.encode()
    except UnicodeEncodeError as error:  # a lone surrogate from a \\ud83d escape
        raise ValueError(f"text that is no Unicode ({error.reason})") from error
    return content.strip()


def _line_records(file: str) -> Iterator[tuple[str, int, Any]]:
    number = 0
    try:
        with open_lines(file) as lines:
            for number, line in numbered_lines(lines):
                if number == 1 and line.startswith(b"["):  # one list, as ShareGPT comes
                    yield from _list_records(file, line + b"\n" + lines.read())
                    return
                yield f"{file}, line {number}", number, _parsed(line)
    except (EOFError, zlib.error) as error:
        found = f"cannot be decompressed beyond line {number} ({error})"
        raise UserError(file, found=found, remedy="copy it again, or remove it") from error


def _list_records(file: str, content: bytes) -> Iterator[tuple[str, int, Any]]:
    try:
        records = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise UserError(file, found=f"a list that is not JSON ({error})", remedy="copy it again") from error
    for number, record in enumerate(records, 1):
        yield f"{file}, record {number}", number, record


def _parsed(line: bytes) -> Any:
    try:
        return parse_json_line(line)
    except ValueError as error:
        return error


def _parquet_records(file: str) -> Iterator[tuple[str, int, Any]]:
    number = 0
    with open_parquet(file) as table:
        for batch in table.iter_batches(batch_size=ROWS):
            for record in batch.to_pylist():
                yield f"{file}, row {number}", number, record
                number += 1
