"""Lone surrogates: halves of UTF-16 pairs, which JSON escapes can bring into strings and UTF-8 cannot encode.

JavaScript cuts strings between the halves of an emoji, and ``JSON.stringify`` then writes the half as an escape. It
breaks whatever encodes the string later, so readers of JSON check for it where strings come in.
"""

from __future__ import annotations

import re
from typing import Any

SURROGATE = re.compile("[\ud800-\udfff]")
ESCAPED = re.compile(r"\\u[dD][89a-fA-F]")
ESCAPED_BYTES = re.compile(rb"\\u[dD][89a-fA-F]")


def has_lone_surrogate(text: str) -> bool:
    """Whether ``text`` cannot be encoded as UTF-8 (Python's strings hold whole pairs as one character)."""
    return SURROGATE.search(text) is not None


def lone_surrogate_path(value: Any, path: str = "") -> str | None:
    """The first place in a JSON value that holds one, e.g. ``messages[0].content``; None where there is none.

    A key that holds one is shown with the half escaped.
    """
    if isinstance(value, str):
        return path if has_lone_surrogate(value) else None
    items: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        for key, inner in value.items():
            name = key.encode("ascii", "backslashreplace").decode() if has_lone_surrogate(key) else key
            if name != key:
                return f"{path}.{name}" if path else name
            items.append((f"{path}.{key}" if path else key, inner))
    elif isinstance(value, list):
        items = [(f"{path}[{number}]", inner) for number, inner in enumerate(value)]
    for name, inner in items:
        if (found := lone_surrogate_path(inner, name)) is not None:
            return found
    return None
