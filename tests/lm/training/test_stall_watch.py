"""A step that hangs is named, with its documents, and the training goes on when it does."""

from __future__ import annotations

import contextlib
import io
import re
import threading
from pathlib import Path
from typing import Any

import pytest


def train_with_a_hang(tiny: Any, out: Path, **options: Any) -> tuple[str, list[float]]:
    """Train; step 3 waits until the watch has named it."""
    from lm.training.stall_watch import StallWatch
    from lm.training.trainer import Trainer

    reported, step, report = threading.Event(), Trainer._step, StallWatch.report

    def hang(self: Any, number: int, batches: Any) -> Any:
        if number == 2:
            assert reported.wait(300)
        return step(self, number, batches)

    def tell(self: Any, number: int) -> None:
        report(self, number)
        if number == 2:  # on a loaded machine others are slow, too
            reported.set()

    Trainer._step, StallWatch.report = hang, tell  # type: ignore[method-assign]  # this process is a fork
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        trained = tiny.train(out, steps=4, warmup_steps=1, layers=1, stall_seconds=0.2, **options)
    return said.getvalue(), trained.losses


@pytest.mark.parametrize("forms", [("text",), ("text", "tts")])
def test_a_step_that_hangs_is_named(forms: tuple[str, ...], tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    (said, losses), *_ = run_ranks(lambda: train_with_a_hang(tiny, tmp_path / "hung", forms=forms), 1)
    assert len(losses) == 4
    (line,) = [line for line in said.splitlines() if line.startswith("step 3 ")]
    assert re.match(r"step 3 has taken more than 0\.2 s on rank 0; it reads of ", line)
    for form in forms:
        numbers = re.search(rf"{re.escape(str(tiny.folder / form / 'train'))} documents ([\d, ]+)", line)
        assert numbers and all(0 <= int(number) < 50 for number in numbers[1].split(","))
