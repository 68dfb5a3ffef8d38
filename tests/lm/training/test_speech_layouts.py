"""Speech read as vectors: every layout trains the same model, whichever parts train, and goes on under any other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import speech_layout_table
from tests.support.speech_layout_table import LAYOUTS, MODES

STEPS = {**speech_layout_table.STEPS, "steps": 8}
EVERYTHING, CONNECTOR = {"speech": MODES["encoder, connector and lm"]}, {"speech": MODES["connector"]}


def numbers(trained: Any) -> list[float]:
    """Losses, those of validation, and the norms of the gradient, to which a frozen model's loss is numb."""
    norms = [row["gradient_norm"] for row in trained.rows if "gradient_norm" in row]
    return [*trained.losses, trained.metrics["val_loss.asr"], trained.metrics["val_loss.interleaved"], *norms]


def check_layouts(data: Any, run_ranks: Any, folder: Path, names: Any, **options: Any) -> None:
    """Compare losses within 1e-5, and norms of the gradient, which are sums over processes in another order."""

    def train(name: str, size: int, layout: dict[str, Any]) -> Any:
        return run_ranks(lambda: data.train(folder / name, **STEPS, **options, **layout), size)[0]

    plain = numbers(train("plain", 1, {}))
    for name in names:
        got = numbers(train(name, *LAYOUTS[name]))
        assert got[:10] == pytest.approx(plain[:10], rel=1e-5), name
        assert got[10:] == pytest.approx(plain[10:], rel=2e-3), name


def test_encoder_connector_and_lm_train_alike(audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    check_layouts(audio, run_ranks, tmp_path, LAYOUTS, **EVERYTHING)


def test_a_connector_alone_trains_alike(audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    names = ("data, distributed optimizer", "tensor, pipeline and sequence")
    check_layouts(audio, run_ranks, tmp_path, names, **CONNECTOR)


def test_dropout_and_strides_train_alike(strided: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Sequence parallel processes drop the same values of a table that they all compute."""
    names = ("tensor and sequence", "context")
    connector = {"kind": "stack", "stride": 2, "dropout": 0.2}
    check_layouts(strided, run_ranks, tmp_path, names, connector=connector, packing="best_fit")


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    from megatron.core import dist_checkpointing

    tensors = dist_checkpointing.load_plain_tensors(str(folder))
    return {name: value.double().numpy() for name, value in tensors.items() if hasattr(value, "double")}


RESUMED = {
    "itself": ((1, {"precision": "bf16"}), [((1, {"precision": "bf16"}), 0.0)]),
    "other layouts": (
        (2, {"tensor": 2, "sequence": True}),
        [((2, {"tensor": 2, "sequence": True}), 0.0), ((2, {"pipeline": 2}), 1e-5)],
    ),
    "distributed optimizer": (
        (2, {"distributed_optimizer": True}),
        [((2, {"distributed_optimizer": True}), 0.0), ((1, {"distributed_optimizer": True}), 1e-5)],
    ),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_as_the_unbroken_one(name: str, audio: Any, run_ranks: Any, tmp_path: Path) -> None:
    (size, layout), others = RESUMED[name]
    options = {**STEPS, "checkpoint_every": 4, **(CONNECTOR if name == "itself" else EVERYTHING)}
    whole = run_ranks(lambda: audio.train(tmp_path / "whole", **options, **layout), size)[0]
    for number, ((other_size, other), tolerance) in enumerate(others):
        out = tmp_path / str(number)
        shutil.copytree(tmp_path / "whole/checkpoint/step_00000004", out / "checkpoint/step_00000004")
        resumed = run_ranks(lambda: audio.train(out, **options, **other), other_size)[0]  # noqa: B023
        if tolerance:
            assert resumed.losses == pytest.approx(whole.losses[4:], rel=tolerance)
            continue
        assert resumed.losses == whole.losses[4:]
        ours, theirs = run_ranks(
            lambda: [weights_of(each / "checkpoint/step_00000008") for each in (tmp_path / "whole", out)], 1  # noqa: B023
        )[0]  # fmt: skip
        assert sorted(ours) == sorted(theirs) and any("speech_input.connector" in key for key in ours)
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
