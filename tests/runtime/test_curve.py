"""The training curve: rows merge by step, later and torn rows are cut off on resume, means leave NaN out."""

from __future__ import annotations

import json
import math
from pathlib import Path

from runtime.curve import Curve, RunningMeans


def test_rows_of_a_step_merge_and_a_resumed_run_cuts_later_and_torn_rows(tmp_path: Path) -> None:
    curve = Curve(tmp_path, first_step=0, is_written=True)
    curve.add(1, {"loss": 2.0}, timing={"tokens_per_second": 9.0})
    curve.add(2, {"loss": 1 / 3})
    curve.add(2, {"val_loss": 1.5})
    curve.add(3, {"loss": 0.25})
    curve.close()
    with (tmp_path / "curve.jsonl").open("a") as file:
        file.write('{"step": 2, "lo')
    resumed = Curve(tmp_path, first_step=2, is_written=True, digits=3)
    resumed.add(3, {"loss": 1 / 3})
    resumed.close()
    rows = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 1, "loss": 2.0},
        {"step": 2, "loss": 1 / 3, "val_loss": 1.5},
        {"step": 3, "loss": 0.333},
    ]
    assert resumed.last("val_loss") == 1.5 and resumed.last("gradient_norm") is None
    assert list((tmp_path / "tensorboard").iterdir())


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    curve = Curve(tmp_path, first_step=0, is_written=False)
    curve.add(1, {"loss": 2.0})
    curve.close()
    assert curve.last("loss") is None and not list(tmp_path.iterdir())


def test_running_means_leave_out_what_is_not_finite() -> None:
    means = RunningMeans()
    means.add({"loss": 1.0, "norm": math.nan})
    means.add({"loss": 3.0, "norm": 5.0})
    assert means.take() == {"loss": 2.0, "norm": 5.0}
    assert means.take() == {}
