"""JSON lines: UTF-8, with or without a byte-order mark, one value a line.

Lines stay bytes until they are parsed, so that only a line feed ends one: Python's text lines also end at a carriage
return, and ``str.splitlines`` at U+2028 and U+0085, which JSON strings may hold.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

from .surrogates import ESCAPED_BYTES, lone_surrogate_path


def numbered_lines(lines: Iterable[bytes], first: int = 1) -> Iterator[tuple[int, bytes]]:
    """The lines of a file opened in binary mode with their numbers; blank ones are passed over.

    Args:
        lines: of the file, from the line ``first`` on.
        first: number of the first of them; a byte-order mark is taken off line 1.
    """
    for number, line in enumerate(lines, first):
        if line := without_mark(line, number):
            yield number, line


def without_mark(line: bytes, number: int) -> bytes:
    """A line without white space at its ends, line 1 without a byte-order mark."""
    return (line.removeprefix(codecs.BOM_UTF8) if number == 1 else line).strip()


def parse_json_line(line: bytes) -> Any:
    """The value of a line.

    Raises:
        ValueError: it is no UTF-8, no JSON, or has a string with half a surrogate pair; the message is the reason.
    """
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 (byte 0x{line[error.start]:02x} at {error.start})") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError("not JSON (nested too deeply)") from error
    if ESCAPED_BYTES.search(line) and (path := lone_surrogate_path(value)) is not None:
        raise ValueError(f"half a surrogate pair in {path or 'the string'}, which is no Unicode")
    return value
