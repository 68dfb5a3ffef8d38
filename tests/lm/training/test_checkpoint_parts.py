"""Frequent checkpoints are written in parts by all processes, kept ones load under any layout; bytes are counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import UserError
from tests.support.tiny_lm import train_and_die

OPTIONS = {"layers": 2, "steps": 6, "micro_batch": 1, "checkpoint_every": 2, "keep": 9, "distributed_optimizer": True}


def counted(tiny: Any, out: Path, **options: Any) -> list[int]:
    """Bytes that this process gathered from others at each save."""
    import torch.distributed as dist

    from lm.training import trainer

    gathered: list[int] = []
    save = trainer.save_checkpoint
    is_saving = False

    def count(tensors: list[Any]) -> None:
        if is_saving:  # the others are pickled descriptions
            gathered[-1] += sum(one.numel() * one.element_size() for one in tensors if one.is_floating_point())

    def watched(call: Any, received: Any) -> Any:
        def run(*arguments: Any, **more: Any) -> Any:
            count(received(*arguments))
            return call(*arguments, **more)

        return run

    def saving(*arguments: Any, **more: Any) -> None:
        nonlocal is_saving
        gathered.append(0)
        is_saving = True
        save(*arguments, **more)
        is_saving = False

    trainer.save_checkpoint = saving  # this process is a fork
    dist.all_gather = watched(dist.all_gather, lambda parts, _, *more: parts[1:])
    dist.gather = watched(dist.gather, lambda _, parts=None, *more: (parts or [])[1:])
    dist.all_gather_into_tensor = watched(dist.all_gather_into_tensor, lambda whole, part, *more: [whole])
    dist.all_to_all_single = watched(dist.all_to_all_single, lambda received, *more: [received])
    tiny.train(out, **OPTIONS | options)
    return gathered


def written(folder: Path) -> list[int]:
    """Bytes of each process's files."""
    found: Counter[int] = Counter()
    for file in folder.glob("*.distcp"):
        found[int(re.match(r"__(\d+)_", file.name)[1])] += file.stat().st_size  # type: ignore[index]
    return [found[rank] for rank in sorted(found)]


# Rows that no process's part ends with, and buckets that end with padding.
UNEVEN = {"hidden": 40, "ffn": 76}
# One bucket on a CPU by itself, many on a GPU.
BUCKETS = {"overlap_grad_reduce": "always", "bucket_size": 3000}


@pytest.mark.parametrize(
    ("layout", "ends_inside_a_row"),
    [({}, True), ({"tensor": 2}, False), (BUCKETS, True)],
    ids=["four copies", "two copies of tensor parallel 2", "many buckets"],
)
def test_each_writes_its_share_and_gathers_less_than_a_row_of_each_matrix(
    layout: dict[str, Any], ends_inside_a_row: bool, tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    found = run_ranks(lambda: counted(tiny, tmp_path, **UNEVEN | layout), 4)
    frequent, kept = tmp_path / "checkpoint/step_00000002", tmp_path / "checkpoint/step_00000006"
    names = [json.loads((folder / "checkpoint.json").read_text())["sharding"] for folder in (frequent, kept)]
    assert names == ["dp_reshardable", "fully_reshardable"]
    for folder in (frequent, kept):
        shares = written(folder)
        assert len(shares) == 4 and max(shares) < 1.3 * sum(shares) / 4, shares
    for gathered in found:
        assert gathered[:2] == [0, 0] and gathered[2] < 0.1 * sum(written(kept)) / 4, gathered
    assert any(gathered[2] for gathered in found) == ends_inside_a_row


@pytest.mark.parametrize(("precision", "is_distributed"), [("fp32", True), ("bf16", True), ("fp32", False)])
def test_the_planner_knows_the_bytes(
    precision: str, is_distributed: bool, tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """Frequent and kept ones alike; at this width a fiftieth more are descriptions."""
    from lm.training.checkpoint import CheckpointRecord
    from recipes.cluster.throughput import checkpoint_size

    options = OPTIONS | {"checkpoint_every": 5, "distributed_optimizer": is_distributed, "hidden": 128, "ffn": 256}
    run_ranks(lambda: tiny.train(tmp_path, precision=precision, **options), 4)
    for step in (5, 6):
        folder = tmp_path / f"checkpoint/step_{step:08d}"
        record = CheckpointRecord.read(folder)
        planned = checkpoint_size(
            record.model, record.vocabulary_size, precision, has_distributed_optimizer=is_distributed
        )
        assert planned < sum(written(folder)) < 1.03 * planned


@pytest.mark.parametrize(("size", "then"), [(4, 4), (4, 2), (2, 4)])
def test_frequent_checkpoints_go_on_with_any_number_of_copies(
    size: int, then: int, tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    whole = run_ranks(lambda: tiny.train(tmp_path / "whole", **OPTIONS), size)[0].losses
    broken = tmp_path / "broken"
    assert run_ranks(lambda: train_and_die(tiny, broken, 5, 9, **OPTIONS), size) == [None] * size
    assert sorted(entry.name for entry in (broken / "checkpoint").glob("step_*"))[-1] == "step_00000004"
    resumed = run_ranks(lambda: tiny.train(broken, **OPTIONS), then)[0].losses
    if size == then:
        assert resumed == whole
    assert resumed == pytest.approx(whole, rel=1e-5)


@pytest.mark.parametrize(
    ("before", "now", "is_refused"), [(4, 40, False), (64, 64, False), (64, 128, True), (8, 64, True)]
)
def test_more_copies_than_have_the_same_buckets(before: int, now: int, is_refused: bool, tmp_path: Path) -> None:
    from lm.training.checkpoint import CheckpointRecord, check_optimizer
    from lm.training.model_config import LmModelConfig
    from lm.training.optimizer import BY_COPY
    from lm.training.parallel import ParallelConfig

    parallel = ParallelConfig(distributed_optimizer=True)
    record = CheckpointRecord(
        step=1, model=LmModelConfig(), vocabulary="", vocabulary_size=8, sequence_length=8, parallel=parallel,
        precision="fp32", sharding=BY_COPY, copies=before,
    )  # fmt: skip
    if not is_refused:
        check_optimizer(record, parallel, "fp32", tmp_path, now)
        return
    with pytest.raises(UserError, match=rf"saved with parallel.data={before}\. go on under that layout"):
        check_optimizer(record, parallel, "fp32", tmp_path, now)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kept_ones_of_many_buckets_go_on_in_one(precision: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Widths that leave padding between buckets, where megatron-core's own gathering mixes up neighbours' states."""
    options = OPTIONS | UNEVEN | {"checkpoint_every": 0, "precision": precision}
    options |= {"schedule": "constant", "warmup_steps": 2}
    many = options | BUCKETS | {"overlap_param_gather": True}
    whole = run_ranks(lambda: tiny.train(tmp_path / "whole", **options), 1)[0].losses
    broken = tmp_path / "broken"
    run_ranks(lambda: tiny.train(broken, **many | {"steps": 4}), 4)
    resumed = run_ranks(lambda: tiny.train(broken, **options), 1)[0].losses
    assert len(resumed) == len(whole) == 6
    assert resumed == pytest.approx(whole, rel=1e-5 if precision == "fp32" else 1e-2)


def test_another_tensor_layout_needs_a_kept_one(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    assert run_ranks(lambda: train_and_die(tiny, tmp_path, 5, 9, **OPTIONS), 2) == [None] * 2
    with pytest.raises(RuntimeError, match=r"saved with parallel.tensor=1\. go on under that layout and terminate it"):
        run_ranks(lambda: tiny.train(tmp_path, tensor=2, **OPTIONS), 2)
