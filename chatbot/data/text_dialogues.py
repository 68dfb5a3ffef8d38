"""Text dialogues as others publish them: JSON lines (plain, .gz, .zst), a JSON list or Parquet, in three layouts.

::

    {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}     ShareGPT, Magpie
    {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]} OpenAI
    {"instruction": ..., "response": ...}                                                   Magpie, Alpaca (output)
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import BadRecord
from runtime.errors import UserError
from text2token.texts import PARQUET, list_files, open_lines, open_parquet

from .dialogue_files import Dialogue, DialogueTurn, check_order

SIDES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
IDS = ("id", "uuid", "conversation_id")
ROWS = 256  # of Parquet, held at once


def read_text_dialogues(source: str) -> Iterator[Dialogue | BadRecord]:
    """Every dialogue of a source (a file, a folder, a URL), in order; what is none comes as a `BadRecord`.

    A question at the end that has no answer is left out; an empty system prompt is none.

    Raises:
        UserError: nothing there, or a file that cannot be read.
    """
    for file in list_files(source):
        stem = PurePosixPath(file).name.split(".")[0]
        records = _parquet_records(file) if file.endswith(PARQUET) else _line_records(file)
        for place, number, record in records:
            try:
                if isinstance(record, ValueError):
                    raise record
                yield dialogue_of(record, f"{stem}-{number:07d}")
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
    system = "\n".join(text for side, text in said if side == "system")
    if any(side == "system" for side, _ in said[1:]):
        raise ValueError("a system prompt in the midst of it")
    said = [one for one in said if one[0] != "system"]
    if said and said[-1][0] == "user":
        said = said[:-1]
    if not said:
        raise ValueError("no question with an answer")
    check_order([side for side, _ in said])
    id = next((str(record[name]) for name in IDS if record.get(name) not in (None, "")), place)
    return Dialogue(id=id, system=system, turns=[DialogueTurn(role=side, text=text) for side, text in said])


def _said(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(side, text) of each message."""
    for layout, side, text in (("conversations", "from", "value"), ("messages", "role", "content")):
        if record.get(layout) is not None:
            return [_message(one, side, text) for one in _sequence(record[layout], layout)]
    answer = record.get("response", record.get("output"))
    if isinstance(record.get("instruction"), str) and isinstance(answer, str):
        more = record.get("input")
        asked = f"{record['instruction']}\n{more}" if isinstance(more, str) and more.strip() else record["instruction"]
        return [("user", _text(asked)), ("assistant", _text(answer))]
    raise ValueError("neither conversations nor messages nor instruction and response")


def _sequence(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} is no list of messages")
    return value


def _message(message: Any, side: str, text: str) -> tuple[str, str]:
    if not isinstance(message, Mapping) or message.get(side) not in SIDES:
        given = message.get(side) if isinstance(message, Mapping) else message
        raise ValueError(f"a message of {given!r}, who is neither user nor assistant")
    content = message.get(text)
    if isinstance(content, list):  # OpenAI's parts
        if not all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
            raise ValueError("a message with parts that are no text")
        content = "\n".join(str(part.get("text", "")) for part in content)
    known = SIDES[message[side]]
    if known == "system" and not content:
        return known, ""
    return known, _text(content)


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
