"""Permits without which no unit is begun, so that no job is done before it is killed, however fast the machine."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.lease import process_start_time
from runtime.bulk.workers import UnitFunction, Work


@dataclass(frozen=True)
class Permits:
    """Files in a folder: any process gives some; one that takes a permit removes its file."""

    folder: Path

    def give(self, count: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            (self.folder / secrets.token_hex(8)).touch()

    def take(self) -> None:
        """Wait for a permit, for ever if need be."""
        while True:
            for permit in self.folder.glob("*"):
                try:
                    permit.unlink()
                except FileNotFoundError:  # somebody was faster
                    continue
                return
            time.sleep(0.003)

    def withdraw(self) -> None:
        """Take back those that nobody took."""
        for permit in self.folder.glob("*"):
            permit.unlink(missing_ok=True)


@dataclass(frozen=True)
class Rationed:
    """Work each of whose units needs a permit first."""

    work: Work
    permits: Permits

    def start(self, number: int) -> UnitFunction:
        finish = self.work.start(number)

        def finish_permitted(attempt: UnitAttempt) -> dict[str, Any]:
            self.permits.take()
            return finish(attempt)

        return finish_permitted


def wait_for(condition: Callable[[], object], seconds: float = 600) -> None:
    """Wait until ``condition`` is true; the limit is there to end what hangs, and no machine is so slow."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this never came true"
        time.sleep(0.005)


def is_running(process: int) -> bool:
    """Whether there is such a process (one that has ended and was not yet reaped does not count)."""
    return process_start_time(process) != ""


def is_stopped(process: int) -> bool:
    """Whether all of a process stands still, as after SIGSTOP."""
    try:
        tasks = [task.read_text() for task in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # a thread has just ended
        return False
    return {task.rsplit(")", 1)[1].split()[0] for task in tasks} == {"T"}


def is_group_running(group: int) -> bool:
    """Whether a process of the group runs."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getpgid(int(entry.name)) == group and is_running(int(entry.name)):
                return True
        except ProcessLookupError:
            continue
    return False
