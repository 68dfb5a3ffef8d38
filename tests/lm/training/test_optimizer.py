"""Weight decay acts on matrices only, under every layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

RATE, DECAY = 0.1, 0.5
OPTIONS = {"layers": 2, "qkv_bias": True, "learning_rate": RATE, "weight_decay": DECAY, "schedule": "constant"}
OPTIONS |= {"warmup_steps": 0, "steps": 2}


def shrink_without_gradients(tiny: Any, out: Path, **options: Any) -> dict[str, tuple[int, float]]:
    """Of each parameter: its dimensions, and the factor that an update without gradients leaves of it."""
    from lm.training import trainer

    step, update, found = trainer.Trainer._step, trainer.update, dict[str, tuple[int, float]]()

    def watch(self: Any, number: int, batches: Any) -> Any:
        parameters = [pair for chunk in self.chunks for pair in chunk.named_parameters()]

        def update_without_gradients(*given: Any) -> Any:
            for _, parameter in parameters:
                if parameter.ndim == 1:
                    parameter.data.fill_(0.5)  # biases begin at 0
            self.optimizer.reload_model_params()
            for chunk in self.chunks:
                chunk.zero_grad_buffer()
            before = {name: float(parameter.double().norm()) for name, parameter in parameters}
            result = update(*given)
            for name, parameter in parameters:
                found[name] = parameter.ndim, float(parameter.double().norm()) / before[name]
            return result

        trainer.update = update_without_gradients
        return step(self, number, batches)

    trainer.Trainer._step = watch  # type: ignore[method-assign]  # this process is a fork
    tiny.train(out, **OPTIONS, **options)
    return found


@pytest.mark.parametrize(
    ("size", "layout"),
    [(1, {}), (2, {"tensor": 2}), (2, {"pipeline": 2}), (2, {"distributed_optimizer": True})],
    ids=["plain", "tensor", "pipeline", "distributed optimizer"],
)
def test_decays_matrices_only(size: int, layout: dict[str, Any], tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    for found in run_ranks(lambda: shrink_without_gradients(tiny, tmp_path, **layout), size):
        vectors = {name: factor for name, (ndim, factor) in found.items() if ndim == 1}
        matrices = {name: factor for name, (ndim, factor) in found.items() if ndim > 1}
        assert vectors and set(vectors.values()) == {1.0}, vectors
        assert any("norm" in name for name in vectors) and any(name.endswith(".bias") for name in vectors)
        assert list(matrices.values()) == pytest.approx([1 - RATE * DECAY] * len(matrices), rel=1e-5)


def train_on(tiny: Any, out: Path, *, decays_all: bool, **options: Any) -> list[str]:
    """Train; returns what the run says. ``decays_all``: leave a state as the version before left it."""
    from lm.training import trainer
    from runtime.stage import Run

    update, said = trainer.update, list[str]()

    def update_all(optimizer: Any, *rest: Any) -> Any:
        result = update(optimizer, *rest)
        for group in optimizer.param_groups:
            group["weight_decay"] = DECAY
        return result

    if decays_all:
        trainer.update = update_all
    Run.say = lambda _, message: said.append(message)  # type: ignore[method-assign, assignment]
    tiny.train(out, **(OPTIONS | options))
    return said


@pytest.mark.parametrize("size", [1, 2], ids=["plain", "distributed optimizer"])
def test_says_that_a_state_of_before_goes_on_otherwise(size: int, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    layout = {"distributed_optimizer": size > 1}
    for is_old in (True, False):
        out = tmp_path / str(is_old)
        run_ranks(lambda: train_on(tiny, out, decays_all=is_old, **layout), size)  # noqa: B023
        said = run_ranks(lambda: train_on(tiny, out, decays_all=False, steps=4, **layout), size)[0]  # noqa: B023
        assert any("resumed at step 2" in line for line in said)
        assert any("weight decay" in line for line in said) == is_old
