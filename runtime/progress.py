"""Progress of a stage: a bar on the terminal, and ``progress.json`` in the run folder for the recipe runner."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

# tqdm's default lock is shared by all forked processes: a worker killed while it holds it would block all others. Its
# monitor thread may hold the lock while a worker is forked, which would then wait for ever: so it is switched off.
tqdm.set_lock(threading.RLock())
tqdm.monitor_interval = 0

QUIET_VARIABLE = "SPEECHWEAVE_PROGRESS"  # "file": no bar, for a runner that draws the bars itself


class Progress:
    """A bar over ``total`` units of work; a context manager. Call `update` for finished units.

    ``seconds`` in progress.json includes those of earlier calls in the same folder.
    """

    def __init__(
        self, folder: Path, total: int, description: str, *, start: int = 0, unit: str = "it", is_shown: bool = True
    ) -> None:
        self.path = folder / "progress.json"
        self.done, self.total, self.description = start, total, description
        self.is_shown = is_shown
        is_silent = not is_shown or os.environ.get(QUIET_VARIABLE) == "file"
        self.bar = tqdm(total=total, initial=start, desc=description, unit=unit, disable=is_silent, leave=False)
        self.started = self.written = time.monotonic()
        self.spent = self._spent_before()
        self._write({})

    def update(self, count: int = 1, **values: float) -> None:
        """Add ``count`` finished units and show ``values`` after the bar."""
        self.done += count
        self.bar.update(count)
        if values:
            self.bar.set_postfix({key: f"{value:.4g}" for key, value in values.items()}, refresh=False)
        if time.monotonic() - self.written > 0.5 or self.done >= self.total:
            self._write(values)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._write({})
        self.bar.close()

    def _spent_before(self) -> float:
        try:
            return float(json.loads(self.path.read_text())["seconds"])
        except (OSError, ValueError, KeyError):
            return 0.0

    def _write(self, values: dict[str, float]) -> None:
        if not self.is_shown:
            return
        self.written = time.monotonic()
        state = {
            "description": self.description,
            "done": self.done,
            "total": self.total,
            "seconds": round(self.spent + self.written - self.started, 2),
            "values": values,
        }
        temporary = self.path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(state))
        temporary.replace(self.path)
