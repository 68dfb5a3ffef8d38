"""Every layout trains the same model: losses agree with one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

OVERLAP = {"overlap_grad_reduce": "always", "bucket_size": 2000}
LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "tensor": (2, {"tensor": 2}),
    "tensor and sequence": (2, {"tensor": 2, "sequence": True}),
    "pipeline": (2, {"pipeline": 2}),
    "virtual pipeline": (2, {"pipeline": 2, "virtual": 2}),
    "virtual pipeline, overlapped": (2, {"pipeline": 2, "virtual": 2, "overlap_p2p": True}),
    "context": (2, {"context": 2}),
    "data": (2, {}),
    "data, distributed optimizer": (2, {"distributed_optimizer": True}),
    "data, overlapped": (2, {"overlap_grad_reduce": "always", "bucket_size": 2000}),
    "data, distributed optimizer, overlapped": (
        2,
        {
            "distributed_optimizer": True,
            "overlap_grad_reduce": "always",
            "overlap_param_gather": True,
            "bucket_size": 2000,
        },
    ),
    "tensor and pipeline": (4, {"tensor": 2, "pipeline": 2}),
    "one process, gradients not fused": (1, {"gradient_fusion": "never"}),
    "one process, all recomputed": (1, {"recompute": "full"}),
    "one process, attention recomputed": (1, {"recompute": "selective"}),
}


# Two micro batches a step: what the interleaved schedule of two stages asks for.
STEPS = {"steps": 50, "micro_batch": 4, "global_batch": 8}


def numbers(trained: Any) -> list[float]:
    return [*trained.losses, trained.metrics["val_loss.tts"], trained.metrics["val_loss.tts.speech"]]


@pytest.fixture(scope="module")
def plain(tiny: Any, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("plain")
    return numbers(run_ranks(lambda: tiny.train(folder, **STEPS), 1)[0])


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout_trains_as_one_process_for_50_steps(
    name: str, tiny: Any, plain: list[float], run_ranks: Any, tmp_path: Path
) -> None:
    size, options = LAYOUTS[name]
    got = numbers(run_ranks(lambda: tiny.train(tmp_path, **STEPS, **options), size)[0])
    assert plain[0] > 2 * plain[49] > 0
    assert got == pytest.approx(plain, rel=1e-5)


# At a higher rate bfloat16's rounding grows to percents in some steps, more on one kind of CPU than on another.
BF16 = {"tied": True, "precision": "bf16", "learning_rate": 1e-3, "final_learning_rate": 1e-4}


@pytest.mark.parametrize("options", [{"tied": True}, {"reset_attention": False}, BF16])
def test_options_agree_between_layouts(options: dict[str, Any], tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    one = numbers(run_ranks(lambda: tiny.train(tmp_path / "one", **options), 1)[0])
    two = numbers(run_ranks(lambda: tiny.train(tmp_path / "two", pipeline=2, **options), 2)[0])
    assert two == pytest.approx(one, rel=1e-3 if "precision" in options else 1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_fused_gradients_are_those_of_products_of_their_own(
    tied: bool, tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """A tied matrix gets one gradient from the output layer's product, and another from the embedding."""
    first, second = (
        run_ranks(lambda: tiny.train(tmp_path / how, gradient_fusion=how, tied=tied), 1)[0]  # noqa: B023
        for how in ("always", "never")
    )
    assert numbers(first) == pytest.approx(numbers(second), rel=1e-6)
    norms = [[row["gradient_norm"] for row in one.rows if "gradient_norm" in row] for one in (first, second)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_dropout_follows_seed_and_step(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    first = run_ranks(lambda: tiny.train(tmp_path / "first", dropout=0.2, steps=6), 1)[0]
    again = run_ranks(lambda: tiny.train(tmp_path / "again", dropout=0.2, steps=6), 1)[0]
    other = run_ranks(lambda: tiny.train(tmp_path / "other", dropout=0.2, steps=6, seed=2), 1)[0]
    assert first.losses == again.losses != other.losses
