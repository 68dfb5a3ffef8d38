"""A stage run as its command runs it, with a hook that holds it where a test wants to kill it.

    python -m tests.support.sabotage permits=FOLDER STAGE [key=value ...]

Its processes are a group, whose number is that of the command.

A hook is a function of this module and a row of `HOOKS`. It takes one string, and is called before the stage is
imported, so what it replaces in a module is what the stage then imports. The product knows nothing of it; and a test
needs no program of its own in a string::

    permits = Permits(tmp_path / "permits")
    job = commands.sabotaged(f"permits={permits.folder}", "corpus.build", f"out={out}")
    permits.give(3)
    wait_for(lambda: ...)  # some unit is done; not all can be
    job.kill()
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evaluation.judges.recognisers import ClosedWorldRecogniser
from runtime.bulk import workers
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import UnitRecord
from runtime.bulk.workers import Work

from .permits import Permits, Rationed


def sabotaged(hook: str, stage: str, *arguments: str) -> list[str]:
    """The command that runs a stage with a hook (``name=value``) as a fresh interpreter, in the repository's root."""
    return [sys.executable, "-m", "tests.support.sabotage", hook, stage, *arguments]


def ration_units(folder: str) -> None:
    """Each unit of the stage's bulk jobs needs a permit of a folder (`tests.support.permits`) before it is begun."""
    assert "runtime.bulk.launch" not in sys.modules, "it has imported `finish_units` already"
    finish, permits = workers.finish_units, Permits(Path(folder))

    def finish_permitted(job: UnitFolder, work: Work, *, processes: int) -> Iterator[UnitRecord]:
        return finish(job, Rationed(work, permits), processes=processes)

    workers.finish_units = finish_permitted


def ration_files(folder: str) -> None:
    """Each call of a closed-world recogniser needs a permit of a folder before it hears its files."""
    hear, permits = ClosedWorldRecogniser.transcribe, Permits(Path(folder))

    def hear_permitted(recogniser: ClosedWorldRecogniser, files: Sequence[Path]) -> list[str]:
        permits.take()
        return hear(recogniser, files)

    ClosedWorldRecogniser.transcribe = hear_permitted  # type: ignore[method-assign]


def hold_training(step: str) -> None:
    """A language model's trainer waits for ever before step ``step``, counted from 0."""
    from lm.training.trainer import Trainer

    take, last = Trainer._step, int(step)

    def take_or_wait(trainer: Trainer, number: int, *batches: Any) -> Any:
        if number == last:
            threading.Event().wait()
        return take(trainer, number, *batches)

    Trainer._step = take_or_wait  # type: ignore[method-assign]


HOOKS: dict[str, Callable[[str], None]] = {
    "permits": ration_units,
    "files": ration_files,
    "training": hold_training,
}


def main(hook: str, stage: str) -> None:
    """Install the hook and run the stage with the process's arguments."""
    if os.getpid() != os.getsid(0):
        os.setsid()
    name, _, value = hook.partition("=")
    HOOKS[name](value)
    importlib.import_module(stage).STAGE.exit()


if __name__ == "__main__":
    _, hook, stage, *sys.argv[1:] = sys.argv
    main(hook, stage)
