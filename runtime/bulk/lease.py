"""Leases: the claim of one worker on one piece of work, as a file whose modification time is the heartbeat.

Creating the file (exclusively) is the claim; a thread touches it while the worker lives. A lease that was not touched
for `seconds` is stale, and so is one whose holder was a process of this machine that is gone. All times are those that
the file system itself writes, never a machine's clock, so that machines whose clocks differ agree. No locks are used.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import time
from pathlib import Path
from types import TracebackType

BEATS = 6  # heartbeats within the time after which a lease is stale


class Heartbeat:
    """A thread that touches all leases which this process holds; it lives as long as there are any.

    Args:
        seconds: time without heartbeat after which a lease is stale.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._handles = set[int]()
        self._lock = threading.Lock()
        self._owner: int | None = None  # process of the thread: a fork does not inherit it

    def add(self, handle: int) -> None:
        """Touch the file that is open as ``handle`` from now on."""
        with self._lock:
            self._handles.add(handle)
            if self._owner != os.getpid():
                self._owner = os.getpid()
                threading.Thread(target=self._beat, daemon=True).start()

    def remove(self, handle: int) -> None:
        """Touch the file no more."""
        with self._lock:
            self._handles.discard(handle)

    def _beat(self) -> None:
        while True:
            time.sleep(self.seconds / BEATS)
            with self._lock:
                if not self._handles:
                    self._owner = None
                    return
                for handle in self._handles:
                    # A file server may be away for a moment; if it is away for long, the lease is lost.
                    with contextlib.suppress(OSError):
                        os.utime(handle)


class Lease:
    """A claim that is held; use it as a context manager: leaving it ends the heartbeat, the file stays.

    Args:
        path: the lease's file, open as ``handle``.
        handle: file descriptor. The heartbeat goes through it: where the file was removed (the holder was stopped for
            too long and the work was started again), it touches no other worker's lease.
        heartbeat: of this process.
    """

    def __init__(self, path: Path, handle: int, heartbeat: Heartbeat) -> None:
        self.path, self.handle, self.heartbeat = path, handle, heartbeat
        heartbeat.add(handle)

    @classmethod
    def claim(cls, path: Path, heartbeat: Heartbeat) -> Lease | None:
        """Make the lease's file; None if there is one."""
        holder = json.dumps({"home": host_id(), "pid": os.getpid(), "born": process_start_time(os.getpid())}).encode()
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return None
        os.write(handle, holder)  # at once: if the claimer is killed before this, only time makes its lease stale
        return cls(path, handle, heartbeat)

    def give_back(self) -> None:
        """Remove the claim, as if it had never been made."""
        with contextlib.suppress(OSError):  # the file is gone from its server
            if os.fstat(self.handle).st_nlink:  # else it was removed, and the path may be another worker's lease
                self.path.unlink(missing_ok=True)
        self.__exit__(None, None, None)

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heartbeat.remove(self.handle)
        os.close(self.handle)


class Clock:
    """The file system's time, read by touching a private file (``path``)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def now(self) -> float:
        """Seconds, comparable with the modification times of other files there."""
        handle = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o644)
        try:
            os.utime(handle)
            return os.fstat(handle).st_mtime
        finally:
            os.close(handle)


def is_held(path: Path, seconds: float, clock: Clock) -> bool:
    """Whether the lease at ``path`` has a living holder."""
    try:
        handle = os.open(path, os.O_RDONLY)  # network file systems look at the server's copy only when a file is opened
    except FileNotFoundError:
        return False
    try:
        touched, content = os.fstat(handle).st_mtime, os.read(handle, 4096)
    finally:
        os.close(handle)
    if clock.now() - touched > seconds:
        return False
    try:
        holder = json.loads(content)
        is_gone = holder["home"] == host_id() and process_start_time(int(holder["pid"])) != holder["born"]
    except (ValueError, KeyError, TypeError):  # just being written, or torn by a kill: only time makes it stale
        return True
    return not is_gone


@functools.cache
def host_id() -> str:
    """Host name, boot id and process namespace: process ids can be compared only where all three are the same."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def process_start_time(pid: int) -> str:
    """Start time of a process of this machine, in clock ticks since boot; "" if it is gone.

    With its id it identifies a process (ids are used again). Without /proc, "alive" is returned for any process.
    """
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return "" if state in "ZX" else rest[18]
    except OSError:
        if Path("/proc/self").exists():
            return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "alive"
