"""The end of a command: its exit status, and a reader of its output that has gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.errors import UserError, exit_status

ROOT = Path(__file__).resolve().parents[2]


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "status", "expected"),
    [
        (UserError("a.txt", found="no such file", remedy="make it"), 2, "speechweave toy: error: a.txt: no such file."),
        (OSError(28, "No space", "big.bin"), 2, "big.bin: the disk is full"),
        (ZeroDivisionError("a defect"), 1, "ZeroDivisionError: a defect"),
    ],
)
def test_each_error_has_its_status(
    error: Exception, status: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_status("toy", lambda: fail(error)) == status
    assert expected in capsys.readouterr().err


@pytest.mark.parametrize("words", ["tokenizer train --help", "serve --help", "--help"])
def test_a_reader_that_has_gone_is_no_error(words: str) -> None:
    """``speechweave ... | head -1`` where head has closed the pipe before the first line was written."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "recipes.cli", *words.split()]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
