"""Layers with extra state (Transformer Engine's) and layers without any load each other's checkpoints."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

OPTIONS = {"layers": 2, "qk_norm": True, "schedule": "constant", "warmup_steps": 0, "keep": 9}


def carry_extra_state() -> dict[str, list[float]]:
    """In this process: the local layers' norms carry state outside of their parameters, as Transformer Engine's do.

    Each counts its forward passes in training. Returns, by what happened, the counts that norms were given.
    """
    from lm.training import spec
    from lm.training.norm import RMSNorm

    given: dict[str, list[float]] = {"loaded": []}

    class CountingNorm(RMSNorm):
        count = 0.0

        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            self.count += self.training
            return super().forward(hidden)

        def get_extra_state(self) -> torch.Tensor:
            return torch.tensor([self.count])

        def set_extra_state(self, state: torch.Tensor) -> None:
            self.count = float(state)
            given["loaded"].append(self.count)

    spec.RMSNorm = CountingNorm  # this process is a fork
    return given


def train(tiny: Any, out: Path, steps: int, *, carries: bool, **options: Any) -> tuple[list[float], list[float]]:
    """Losses, and the counts that were loaded."""
    given = carry_extra_state() if carries else {"loaded": []}
    return tiny.train(out, steps=steps, **OPTIONS, **options).losses, given["loaded"]


@pytest.mark.parametrize(
    ("size", "layout"),
    [(1, {}), (2, {"pipeline": 2, "distributed_optimizer": True})],
    ids=["one process", "pipeline"],
)
def test_runs_go_on_with_and_without_extra_state(
    size: int, layout: dict[str, Any], tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """A step without, one with, one with and one without again end as runs do that never carried any."""
    plain: list[Any] = []
    mixed: list[Any] = []
    for out, found, turns in (("plain", plain, (False,) * 4), ("mixed", mixed, (False, True, True, False))):
        for steps, carries in zip((1, 2, 3, 4), turns, strict=True):
            work = partial(train, tiny, tmp_path / out, steps, carries=carries, **layout)
            found.append(run_ranks(work, size)[0])
    assert mixed[-1][0] == plain[-1][0] and len(plain[-1][0]) == 4
    loaded = [counts for _, counts in mixed]
    assert loaded[0] == loaded[1] == loaded[3] == []
    micro_batches = 8 // 2  # of a step
    assert len(set(loaded[2])) == 1 and loaded[2][0] == micro_batches


def test_weights_of_a_base_load_into_layers_with_extra_state(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    base = tmp_path / "base"
    run_ranks(lambda: train(tiny, base, 4, carries=False), 1)
    one, _ = run_ranks(lambda: train(tiny, tmp_path / "one", 5, carries=False, init=str(base)), 1)[0]
    two, _ = run_ranks(lambda: train(tiny, tmp_path / "two", 5, carries=True, init=str(base)), 1)[0]
    assert one == two
    again, _ = run_ranks(lambda: train(tiny, tmp_path / "again", 5, carries=False, init=str(tmp_path / "two")), 1)[0]
    assert again[0] < one[0]


@pytest.mark.parametrize("size", [1, 2])
def test_missing_weights_are_named_and_nothing_is_to_be_deleted(
    size: int, tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """A checkpoint without norms of queries and keys, whose record says that it has them."""
    base = tmp_path / "base"
    run_ranks(lambda: tiny.train(base, steps=4, **OPTIONS | {"qk_norm": False}), 1)
    record = base / "checkpoint/step_00000004/checkpoint.json"
    content = json.loads(record.read_text())
    content["model"]["qk_norm"] = True
    record.write_text(json.dumps(content))
    for out, options in ((base, {}), (tmp_path / "other", {"init": str(base)})):
        with pytest.raises(RuntimeError) as error:
            run_ranks(lambda: tiny.train(out, steps=5, pipeline=size, **OPTIONS, **options), size)  # noqa: B023
        assert "decoder.layers.self_attention.q_layernorm.weight" in str(error.value)
        assert "step_00000004" in str(error.value) and "delete" not in str(error.value)
