"""Store of spoken replies, which later messages may reference by their id."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from .errors import ApiError


class Remembered(NamedTuple):
    """One reply: its words, who got it, and until when it is kept (Unix time)."""

    text: str
    caller: str | None
    expires_at: float


class Replies:
    """The latest replies, for a time.

    Only the words are kept: they are what the model needs to read of its own earlier turns.

    Args:
        seconds: how long.
        most: how many.
        clock: Unix time, for tests.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.time) -> None:
        self.seconds, self.most, self.clock = seconds, most, clock
        self._kept: OrderedDict[str, Remembered] = OrderedDict()

    def expires_at(self) -> int:
        """Until when a reply made now is kept."""
        return int(self.clock() + self.seconds)

    def keep(self, name: str, text: str, caller: str | None) -> None:
        """Remember a reply under the id ``name``."""
        self._kept[name] = Remembered(text, caller, self.clock() + self.seconds)
        while len(self._kept) > self.most:
            self._kept.popitem(last=False)

    def text_of(self, name: str, caller: str | None) -> str:
        """The words of a reply of the same caller.

        Raises:
            ApiError: 400, no such reply, or it is forgotten.
        """
        found = self._kept.get(name)
        if found is None or found.caller != caller or found.expires_at < self.clock():
            message = f"No spoken reply {name[:100]!r}, or it has expired; send its text as content"
            raise ApiError(400, message, param="messages.audio.id", code="audio_not_found")
        return found.text
