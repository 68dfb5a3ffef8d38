"""Lines typed at the terminal, for an event loop."""

from __future__ import annotations

import asyncio
import codecs
import os
import threading

MAX_BYTES = 1 << 16


class Keyboard:
    """Standard input, line by line. One thread reads it for as long as the process lives.

    It reads the descriptor itself: a thread that is blocked in ``sys.stdin`` holds a lock that the interpreter wants
    at its end.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="keyboard", daemon=True).start()

    async def line(self) -> str | None:
        """The next line without its end; None at the end of the input, or once it was closed."""
        line = await self._lines.get()
        if line is None:
            self._lines.put_nowait(None)
        return line

    def close(self) -> None:
        """End the input: a `line` that waits gets None."""
        self._lines.put_nowait(None)

    def _read(self) -> None:
        decoder, rest = codecs.getincrementaldecoder("utf-8")("replace"), ""
        while True:
            try:
                data = os.read(self._descriptor, MAX_BYTES)
            except OSError:  # the terminal is gone
                data = b""
            rest += decoder.decode(data, final=not data)
            *lines, rest = rest.split("\n")
            ended: list[str | None] = [*lines] if data else [*lines, *([rest] if rest else []), None]
            try:
                for line in ended:
                    self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return
            if not data:
                return
