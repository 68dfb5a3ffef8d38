"""Command lines of stages, run as forks of one process a worker that has imported what stages import.

The fixture ``commands`` (tests/conftest.py) starts ``python -m MODULE`` in a process of its own, in the environment of
a recipe's steps, and saves up to seven CPU seconds of imports each time. Tests of imports and of starting take
`subprocess`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from recipes.launch import LIBRARIES, RANK_VARIABLES, rank_environment
from runtime.fork_server import ForkedCommand, ForkServer

ROOT = Path(__file__).resolve().parents[2]
HANG_SECONDS = 600.0


class Commands:
    """The parent of the commands of one test worker.

    Attributes:
        server: for what starts its own processes (`recipes.launch.Ranks`).
    """

    def __init__(self) -> None:
        # pytest names each test in the environment; torch reads the devices at its first question for them.
        own = (*RANK_VARIABLES, "PYTEST_CURRENT_TEST", "CUDA_VISIBLE_DEVICES")
        self.server = ForkServer(rank_environment(threads=1), own=own)

    def sabotaged(self, hook: str, stage: str, *arguments: str) -> ForkedCommand:
        """Start a stage with a hook (`tests.support.sabotage`), in the repository's root and a group of its own."""
        with Path(os.devnull).open("wb") as nothing, contextlib.chdir(ROOT):
            return self.server.start(
                "tests.support.sabotage", [hook, stage, *arguments], output=nothing.fileno(), libraries=LIBRARIES
            )

    def run(self, module: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m MODULE WORDS`` in the repository's root, and wait for its end."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors, contextlib.chdir(ROOT):
            command = self.server.start(
                module, words, output=output.fileno(), errors=errors.fileno(), libraries=LIBRARIES
            )
            try:
                status = command.wait(HANG_SECONDS)
            finally:
                command.kill()
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return subprocess.CompletedProcess([module, *words], status, *texts)


@contextlib.contextmanager
def open_commands() -> Iterator[Commands]:
    """The commands of a test session; their parent starts with the first and ends here."""
    commands = Commands()
    with commands.server:
        yield commands
