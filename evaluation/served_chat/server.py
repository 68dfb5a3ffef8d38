"""Server under test: ``speechweave serve`` as a process of its own on a free port."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.errors import UserError
from runtime.process import die_with_parent

MODULE = "chatbot.server.command"  # by its name only: this room knows the chatbot by its public protocol
ADDRESS = re.compile(r"\bis at (https?://\S+)")
START_SECONDS = 180.0
STOP_SECONDS = 60.0


@dataclass(frozen=True)
class ServedBundle:
    """A running server.

    Attributes:
        url: its address.
        process: the running process.
        log: file with its output.
    """

    url: str
    process: subprocess.Popen[str]
    log: Path

    def memory(self) -> int:
        """Its resident memory in bytes, with that of its children."""
        return sum(each.memory_info().rss for each in self._processes())

    def cpu_seconds(self) -> float:
        """CPU seconds it has taken, with its children."""
        return sum(sum(each.cpu_times()[:2]) for each in self._processes())

    def _processes(self) -> list[Any]:
        import psutil  # type: ignore[import-untyped]

        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


@contextlib.contextmanager
def serve_bundle(
    bundle: Path | str, log: Path, *, max_talkers: int = 8, threads: int = 1, more: Sequence[str] = ()
) -> Iterator[ServedBundle]:
    """Start a server, wait until it listens, and stop it at the end.

    Args:
        bundle: the chatbot.
        log: file for the server's output.
        max_talkers: concurrent conversations that the server admits.
        threads: CPU threads.
        more: further words of its command line.

    Raises:
        UserError: it does not start, or does not end after SIGTERM.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", MODULE, "--bundle", str(bundle), "--port", "0", "--quiet"]
    command += ["--max-talkers", str(max_talkers), "--threads", str(threads), *more]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, preexec_fn=die_with_parent
        )
        try:
            yield ServedBundle(wait_for_address(process, log), process, log)
        finally:
            stop(process, log)


@contextlib.contextmanager
def server_of(
    bundle: Path | str | None, url: str | None, log: Path, *, max_talkers: int, threads: int
) -> Iterator[tuple[str, Callable[[], float | None]]]:
    """The server at ``url``, or one of ``bundle`` that runs while the context is open.

    Yields:
        Its URL, and a function that returns the CPU seconds it has taken (None for a server that is not ours).
    """
    if url is not None:
        yield url, lambda: None
        return
    assert bundle is not None
    with serve_bundle(bundle, log, max_talkers=max_talkers, threads=threads) as served:
        yield served.url, served.cpu_seconds


def wait_for_address(process: subprocess.Popen[str], log: Path) -> str:
    """The URL that the server prints when it listens."""
    found: list[str] = []
    is_known = threading.Event()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not found and (match := ADDRESS.search(line)):
                found.append(match.group(1))
                is_known.set()
        is_known.set()

    threading.Thread(target=read, daemon=True).start()
    deadline = time.monotonic() + START_SECONDS
    is_known.wait(deadline - time.monotonic())
    if not found:
        lines = log.read_text(errors="replace").strip().splitlines()
        remedy = f"read {log}"
        raise UserError("the server", found=lines[-1] if lines else "it did not start", remedy=remedy)
    return found[0]


def stop(process: subprocess.Popen[str], log: Path) -> None:
    """Stop the server as an operator does, by SIGTERM; its status must be 0."""
    if process.poll() is None:
        process.terminate()
    try:
        status = process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise UserError(
            "the server", found=f"it ran on {STOP_SECONDS:g} s after SIGTERM", remedy=f"read {log}"
        ) from error
    if status and sys.exc_info()[0] is None:
        raise UserError("the server", found=f"it ended with status {status}", remedy=f"read {log}")
