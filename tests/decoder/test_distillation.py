"""Distillation: a student takes in few steps the way of its teacher in many, and training brings it there."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from decoder.config import BackboneConfig, FlowConfig
from decoder.flow import Conditions, time_grid
from decoder.model import SpeechDecoder
from decoder.train import STAGE as TRAIN
from decoder.train_vocoder import STAGE as TRAIN_VOCODER
from decoder.training.distillation import Distillation
from runtime.errors import UserError

TINY = BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3)
MakeDecoder = Callable[..., SpeechDecoder]


def make_distillation(make_decoder: MakeDecoder, student_steps: int, **options: object) -> Distillation:
    teacher = make_decoder(flow=FlowConfig(estimator=TINY, **options))  # type: ignore[arg-type]
    return Distillation(teacher, copy.deepcopy(teacher), student_steps)


@pytest.mark.parametrize("prediction", ["x1", "velocity"])
@pytest.mark.parametrize(("steps", "solver"), [(1, "euler"), (2, "euler"), (5, "midpoint")])
def test_a_perfect_student_is_the_teacher(make_decoder: MakeDecoder, prediction: str, steps: int, solver: str) -> None:
    """An estimator that answers as the distillation wants has no loss, and its steps end where the teacher's do."""
    distillation = make_distillation(make_decoder, steps, prediction=prediction, steps=10, guidance=0.7, solver=solver)
    inputs = distillation.teacher.batch([np.arange(9), np.arange(4)], ["anna", "bert"])
    conditions = distillation.teacher.conditions(*inputs)
    noise = torch.randn_like(conditions.mean)
    grid = time_grid(steps)

    def perfect(point: torch.Tensor, time: torch.Tensor, _conditions: Conditions, _is_given: torch.Tensor, *_: object):  # type: ignore[no-untyped-def]
        number = min(range(steps), key=lambda number: abs(grid[number] - float(time[0])))
        start = noise_now[0]
        here, there = distillation.stretch(start, conditions, number)
        mean_velocity = (there - here) / (grid[number + 1] - grid[number])
        keep = 1 - distillation.student.config.flow.sigma_min
        clean = mean_velocity * (1 - keep * grid[number]) + keep * here
        return clean if prediction == "x1" else mean_velocity

    noise_now = [noise]
    with torch.no_grad():
        right = distillation.teacher.flow.sample(noise, conditions)
        untaught = distillation.student.flow.sample(noise, conditions)
        distillation.student.flow.estimate = perfect  # type: ignore[method-assign]
        taught = distillation.student.flow.sample(noise, conditions)
        torch.testing.assert_close(taught, right, rtol=1e-3, atol=1e-3)
        real = conditions.is_real
        assert (untaught - right)[real].abs().mean() > 10 * (taught - right)[real].abs().mean()
        torch.manual_seed(5)
        torch.randint(steps, ())
        noise_now[0] = torch.randn_like(conditions.mean)  # the noise that the loss will draw
        torch.manual_seed(5)
        terms = distillation.loss(inputs[0], conditions.mean, inputs[1].rows, inputs[2], clips=None)
    assert float(terms["loss"]) < 1e-6


def test_the_stretches_are_the_teachers_way(make_decoder: MakeDecoder) -> None:
    distillation = make_distillation(make_decoder, 2, steps=4, guidance=0.7, temperature=0.8)
    inputs = distillation.teacher.batch([np.arange(6)], ["anna"])
    conditions = distillation.teacher.conditions(*inputs)
    noise = torch.randn_like(conditions.mean)
    with torch.no_grad():
        (start, middle), (again, end) = (distillation.stretch(noise, conditions, number) for number in (0, 1))
        torch.testing.assert_close(start, 0.8 * noise)
        torch.testing.assert_close(middle, again)
        torch.testing.assert_close(end, distillation.teacher.flow.sample(noise, conditions))


def test_steps_must_divide_the_teachers(make_decoder: MakeDecoder) -> None:
    for steps in (3, 4, 8):
        with pytest.raises(UserError, match="the teacher takes 4"):
            make_distillation(make_decoder, steps, steps=4)


def test_a_student_comes_near_its_teacher(spoken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["model.width=16", "model.layers=1", "batch=2", "crop_frames=32", "fit.steps=2", "fit.warmup_steps=1"]
    assert TRAIN_VOCODER.main([f"corpus={spoken}/corpus", f"out={spoken}/vocoder", *small, "evaluate=1"]) == 0
    inputs = [f"corpus={spoken}/corpus", f"tokens={spoken}/tokens", f"vocoder={spoken}/vocoder", "voices=[all]"]
    shape = [f"{part}.{name}" for part in ("encoder", "flow.estimator") for name in ("width=32", "layers=1", "heads=2")]
    fit = ["fit.warmup_steps=5", "fit.learning_rate=3e-3", "fit.log_every=5", "fit.checkpoint_every=200", "batch=4"]
    many = [*shape, "flow.steps=4", "flow.guidance=0.7", "fit.steps=50", f"out={spoken}/many"]
    assert TRAIN.main([*inputs, *fit, *many]) == 0
    few = [f"distil_from={spoken}/many", "flow.steps=1", "fit.steps=60"]
    assert TRAIN.main([*inputs, *fit, *few, f"out={spoken}/few"]) == 0
    metrics = json.loads((spoken / "few" / "metrics.json").read_text())
    assert metrics["pupil.teacher_distance"] < 0.6 * metrics["pupil.untaught_distance"]
    teacher, student = (SpeechDecoder.from_pretrained(spoken / out / "artefact") for out in ("many", "few"))
    assert (student.config.flow.steps, student.config.flow.guidance, student.config.flow.solver) == (1, 0.0, "euler")
    for name, weight in teacher.encoder.state_dict().items():
        assert torch.equal(weight, student.encoder.state_dict()[name])
    assert TRAIN.main([*inputs, *fit, *few, f"init={spoken}/many", f"out={spoken}/wrong"]) == 2
    assert "leave out init" in " ".join(capsys.readouterr().err.split())
