"""`speechweave chat` at a real pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile

from chatbot.chat import main
from chatbot.engine.worker import Job, Worker
from chatbot.terminal.dialogue import PROMPT

from ..conftest import HANG_SECONDS, babble  # noqa: TID252

CONTROL_C, CONTROL_D = "\x03", "\x04"


class Terminal:
    """A pseudo-terminal with a person at it, and a forked process that runs the command in ``folder``.

    While it ``is_mute`` no speech is made, so that no reply is over before it is stopped, however fast the machine is.
    """

    def __init__(self, folder: Path, *arguments: str, is_mute: bool = False) -> None:
        muted, self.mute = os.pipe()
        self.process, self.keys = pty.fork()
        if self.process == 0:
            status = 70
            try:
                os.close(self.mute)
                if is_mute:
                    hold_speech(muted)
                os.chdir(folder)
                for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):  # pytest's own are not the terminal
                    setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
                status = main(arguments)
            finally:
                sys.stdout.flush()
                os._exit(status)
        os.close(muted)
        self.shown = ""
        self.read = 0

    def wait_for(self, pattern: str) -> str:
        """Read on until the pattern was shown; what was shown up to its end since the last call."""
        deadline = time.monotonic() + HANG_SECONDS
        while not (found := re.search(pattern, self.shown[self.read :])):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.shown!r}"
            if select.select([self.keys], [], [], 0.5)[0]:
                self.shown += self._take()
        since = self.shown[self.read : self.read + found.end()]
        self.read += found.end()
        return since

    def unmute(self) -> None:
        """Let speech be made from now on."""
        if self.mute >= 0:
            os.close(self.mute)
        self.mute = -1

    def type(self, keys: str) -> None:
        os.write(self.keys, keys.encode())

    def left(self) -> int:
        """Wait until the process has ended; its exit status."""
        deadline = time.monotonic() + HANG_SECONDS
        while True:
            if select.select([self.keys], [], [], 0.1)[0]:
                self.shown += self._take()
            process, status = os.waitpid(self.process, os.WNOHANG)
            if process:
                return os.waitstatus_to_exitcode(status)
            assert time.monotonic() < deadline, f"still there after {self.shown!r}"

    def close(self) -> None:
        try:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
        except (ProcessLookupError, ChildProcessError):
            pass  # it has left
        os.close(self.keys)
        self.unmute()

    def _take(self) -> str:
        try:
            return os.read(self.keys, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            return ""


def hold_speech(muted: int) -> None:
    """Make no speech in this process until the other end of the pipe ``muted`` is closed; only its thread waits."""
    do = Worker._do

    def do_later(worker: Worker, batch: list[Job]) -> None:
        if worker._thread.name == "speech decoder":
            assert not os.read(muted, 1)
        do(worker, batch)

    Worker._do = do_later  # type: ignore[method-assign]


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*arguments: str, is_mute: bool = False) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments, is_mute=is_mute))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_typed_and_recorded_questions_are_answered(
    chain: Path, tmp_path: Path, open_terminal: Callable[..., Terminal]
) -> None:
    soundfile.write(tmp_path / "question.wav", babble(1, 1.0), 16000)
    terminal = open_terminal("--bundle", str(chain / "bundle"), "--out", "reply.flac")
    terminal.wait_for(re.escape(PROMPT))
    terminal.type("what is the capital of france\n")
    told = terminal.wait_for(re.escape(PROMPT))
    assert "said:" in told
    terminal.type("question.wav\n")
    told = terminal.wait_for(re.escape(PROMPT))
    assert told.index("heard:") < told.index("said:")
    terminal.type("missing.wav\n")
    assert "error: missing.wav: no such audio file" in terminal.wait_for(re.escape(PROMPT))
    terminal.type("\n")  # no microphone is asked for where there is none
    terminal.type("and of spain\n")
    terminal.wait_for("said:")
    terminal.wait_for(re.escape(PROMPT))
    terminal.type(CONTROL_D)
    assert terminal.left() == 0
    assert "Traceback" not in terminal.shown
    named = set(re.findall(r"spoken answer: (reply-\d\.flac)", terminal.shown))
    assert named == {file.name for file in tmp_path.glob("reply-*.flac")} <= {f"reply-{n}.flac" for n in (1, 2, 3)}


def test_control_c_stops_a_reply_and_twice_leaves(chain: Path, open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal("--bundle", str(chain / "bundle"), is_mute=True)
    terminal.wait_for(re.escape(PROMPT))
    terminal.type("what is the capital of france\n")
    terminal.wait_for("said:")
    terminal.type(CONTROL_C)
    terminal.wait_for(re.escape("(stopped)"))
    terminal.wait_for(re.escape(PROMPT))
    terminal.type("and of spain\n")  # it goes on after a stop
    terminal.wait_for("said:")
    terminal.type(CONTROL_C)
    terminal.wait_for(re.escape("(stopped)"))
    terminal.unmute()  # the block that was begun is ended before one leaves
    terminal.type(CONTROL_C)
    assert terminal.left() == 0
    assert "Traceback" not in terminal.shown

    again = open_terminal("--bundle", str(chain / "bundle"))
    again.wait_for(re.escape(PROMPT))
    again.type(CONTROL_C)
    again.wait_for("again leaves")
    again.type(CONTROL_C)
    assert again.left() == 0
