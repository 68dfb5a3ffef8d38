"""A run that was interrupted ends as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def train_and_die(tiny: Any, out: Path, at_step: int, how: int, **options: Any) -> Any:
    """Train, but send this process a signal at the beginning of a step."""
    from lm.trainer import Trainer

    step = Trainer._step

    def deadly(self: Any, number: int, batches: Any) -> Any:
        if number == at_step:
            os.kill(os.getpid(), how)
        return step(self, number, batches)

    Trainer._step = deadly  # type: ignore[method-assign]  # this process is a fork
    return tiny.train(out, checkpoint_every=4, **options)


def weights_of(out: Path) -> dict[str, Any]:
    from megatron.core import dist_checkpointing

    from lm.checkpoint import find_checkpoint

    tensors = dist_checkpointing.load_plain_tensors(str(find_checkpoint(out)))
    return {name: value.double().numpy() for name, value in tensors.items() if hasattr(value, "double")}


def assert_same_end(run_ranks: Any, one: Path, other: Path) -> None:
    ours, theirs = run_ranks(lambda: [weights_of(one), weights_of(other)], 1)[0]
    assert sorted(ours) == sorted(theirs)
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name
    assert (one / "curve.jsonl").read_bytes() == (other / "curve.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("size", "options"),
    [(1, {}), (2, {"tensor": 2}), (2, {"distributed_optimizer": True}), (1, {"precision": "bf16", "dropout": 0.1})],
    ids=["plain", "tensor", "distributed optimizer", "bf16 with dropout"],
)
def test_killed_run_ends_bit_for_bit_the_same(
    size: int, options: dict[str, Any], tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = options | {"layers": 2, "validate_every": 3}
    expected = run_ranks(lambda: tiny.train(whole, checkpoint_every=4, **options), size)[0]
    killed = run_ranks(lambda: train_and_die(tiny, broken, 9, signal.SIGKILL, **options), size)
    assert killed == [None] * size
    assert sorted(entry.name for entry in (broken / "checkpoint").iterdir()) == ["step_00000004", "step_00000008"]
    resumed = run_ranks(lambda: tiny.train(broken, checkpoint_every=4, **options), size)[0]
    assert resumed.rows == expected.rows
    assert_same_end(run_ranks, whole, broken)


def test_sigterm_saves_and_another_layout_goes_on(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    expected = run_ranks(lambda: tiny.train(whole), 1)[0]

    def terminated() -> int:
        try:
            train_and_die(tiny, broken, 5, signal.SIGTERM, tensor=2)
        except SystemExit as end:
            return int(str(end.code))
        return 0

    assert run_ranks(terminated, 2) == [143, 143]
    assert (broken / "checkpoint/step_00000006").is_dir()
    resumed = run_ranks(lambda: tiny.train(broken, pipeline=2), 2)[0]
    assert resumed.losses == pytest.approx(expected.losses, rel=1e-4)


def test_killed_stage_is_called_again(tiny: Any, tmp_path: Path) -> None:
    """kill -9 of the whole command, while it trains; the same command then finishes the job."""
    out = tmp_path / "out"
    options = tiny.config(out, layers=2, steps=40, warmup_steps=4, checkpoint_every=2)
    command = [sys.executable, "-W", "ignore", "-m", "lm.train", f"out={out}", f"vocabulary={options.vocabulary}"]
    command += [f"corpora.{name}={folder}" for name, folder in options.corpora.items()]
    for prefix, values in (("model", options.model), ("train", options.train)):
        command += [f"{prefix}.{name}={getattr(values, name)}" for name in values.__dataclass_fields__]
    environment = os.environ | {"SPEECHWEAVE_PROGRESS": "file", "OMP_NUM_THREADS": "1"}
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoint/step_*")):
        assert first.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (out / "done.json").exists()
    second = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "resumed at step" in second.stdout
    assert (out / "done.json").exists() and (out / "checkpoint/step_00000040").is_dir()
    rows = (out / "curve.jsonl").read_text().splitlines()
    assert len(rows) == 40
