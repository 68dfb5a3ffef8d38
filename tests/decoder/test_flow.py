"""The path and its target against the definition; the sampler; guidance."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from decoder.config import BackboneConfig, FlowConfig
from decoder.flow import Conditions, FlowMatching, Sampling, solve, time_grid
from decoder.speaker import Speakers
from runtime.errors import UserError

B, F, M = 2, 16, 5


def make_flow(**options: Any) -> FlowMatching:
    config = FlowConfig(estimator=BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3), **options)
    flow = FlowMatching(config, num_mels=M, num_speakers=2, past=1)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return flow.eval()


GIVEN = torch.ones(B, dtype=torch.bool)


@pytest.fixture
def conditions() -> Conditions:
    """Blocks of 8 frames: two patches of 4."""
    speakers = Speakers(torch.tensor([0, 1]))
    return Conditions(torch.randn(B, F, M), speakers, torch.ones(B, F, dtype=torch.bool), torch.arange(F // 4) // 2)


@pytest.mark.parametrize("sigma", [1e-6, 0.1, 0.5])
def test_path_and_velocity_are_the_definition(sigma: float) -> None:
    flow = make_flow(sigma_min=sigma)
    mel, noise, time = torch.randn(B, F, M), torch.randn(B, F, M), torch.tensor([0.25, 0.75])
    point, velocity = flow.path(mel, noise, time)
    for row, t in enumerate([0.25, 0.75]):
        torch.testing.assert_close(point[row], (1 - (1 - sigma) * t) * noise[row] + t * mel[row])
        torch.testing.assert_close(velocity[row], mel[row] - (1 - sigma) * noise[row])
    start, _ = flow.path(mel, noise, torch.zeros(B))
    end, _ = flow.path(mel, noise, torch.ones(B))
    torch.testing.assert_close(start, noise)
    torch.testing.assert_close(end, mel + sigma * noise)


@pytest.mark.parametrize("sigma", [1e-6, 0.1])
def test_velocity_is_the_time_derivative_of_the_path(sigma: float) -> None:
    flow = make_flow(sigma_min=sigma)
    mel, noise = torch.randn(B, F, M, dtype=torch.float64), torch.randn(B, F, M, dtype=torch.float64)
    time = torch.tensor([0.3, 0.6], dtype=torch.float64)
    later, _ = flow.path(mel, noise, time + 1e-4)
    point, velocity = flow.path(mel, noise, time)
    torch.testing.assert_close((later - point) / 1e-4, velocity, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sigma", [1e-6, 0.1])
def test_velocity_from_the_clean_mel_is_the_target(sigma: float) -> None:
    flow = make_flow(sigma_min=sigma)
    mel, noise, time = torch.randn(B, F, M), torch.randn(B, F, M), torch.tensor([0.0, 0.9])
    point, velocity = flow.path(mel, noise, time)
    torch.testing.assert_close(flow.velocity(mel, point, time), velocity, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["x1", "velocity"])
def test_a_perfect_estimator_samples_the_mel(prediction: str, conditions: Conditions) -> None:
    flow = make_flow(prediction=prediction)
    mel, noise = torch.randn(B, F, M), torch.randn(B, F, M)
    target = mel if prediction == "x1" else flow.path(mel, noise, torch.zeros(B))[1]
    flow.estimate = lambda *_: target  # type: ignore[method-assign]
    for steps, solver in itertools.product((1, 2, 10), ("euler", "midpoint")):
        made = flow.sample(noise, conditions, steps=steps, solver=solver)
        torch.testing.assert_close(made, mel, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2)])
def test_solvers_have_their_order(solver: str, order: int) -> None:
    """x' = x from 1: twice the steps make the error 2 or 4 times smaller."""
    start = torch.ones(1, 1, 1, dtype=torch.float64)
    errors = [
        math.e - float(solve(start, lambda point, _time, _number: point, grid=time_grid(steps), solver=solver))
        for steps in (64, 128)
    ]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.05)
    evaluations: list[int] = []
    solve(start, lambda point, _time, number: evaluations.append(number) or point, grid=time_grid(3), solver=solver)  # type: ignore[func-returns-value]
    assert evaluations == list(range(3 * order))


def test_time_grid_is_a_cosine() -> None:
    assert time_grid(1) == [0.0, 1.0]
    grid = time_grid(10)
    assert grid[0] == 0.0 and grid[-1] == 1.0 and len(grid) == 11
    assert grid[5] == pytest.approx(1 - math.cos(math.pi / 4))
    assert all(later > earlier for earlier, later in itertools.pairwise(grid))


@pytest.mark.parametrize("prediction", ["x1", "velocity"])
def test_guidance_is_the_definition(prediction: str, conditions: Conditions) -> None:
    flow = make_flow(prediction=prediction)
    point, time = torch.randn(B, F, M), torch.tensor([0.2, 0.2])
    given = flow.guided_velocity(point, time, conditions, guidance=0.0)
    free = flow.estimate(point, time, conditions, ~GIVEN)
    free = free if prediction == "velocity" else flow.velocity(free, point, time)
    assert not torch.allclose(given, free)
    guided = flow.guided_velocity(point, time, conditions, guidance=0.7)
    torch.testing.assert_close(guided, 1.7 * given - 0.7 * free, rtol=1e-4, atol=1e-5)


def test_guidance_of_zero_and_of_almost_zero_agree(conditions: Conditions) -> None:
    flow = make_flow()
    noise = torch.randn(B, F, M)
    plain = flow.sample(noise, conditions, steps=3, guidance=0.0)
    torch.testing.assert_close(flow.sample(noise, conditions, steps=3, guidance=1e-7), plain, rtol=1e-4, atol=1e-5)


def test_no_condition_means_neither_mean_nor_speaker(conditions: Conditions) -> None:
    flow = make_flow()
    point, time = torch.randn(B, F, M), torch.full((B,), 0.5)
    other = conditions._replace(mean=torch.randn(B, F, M), speakers=Speakers(torch.tensor([1, 0])))
    assert torch.equal(flow.estimate(point, time, conditions, ~GIVEN), flow.estimate(point, time, other, ~GIVEN))
    assert not torch.equal(flow.estimate(point, time, conditions, GIVEN), flow.estimate(point, time, other, GIVEN))


def test_padding_has_no_part_in_the_loss(conditions: Conditions) -> None:
    flow = make_flow(condition_drop=0.0)
    is_real = torch.arange(F)[None] < torch.tensor([F, 6])[:, None]  # a patch is real in part
    losses = []
    for filler in (0.0, 9.0):
        mel, mean = torch.randn(B, F, M, generator=torch.Generator().manual_seed(1)), conditions.mean.clone()
        mel[1, 6:], mean[1, 6:] = filler, filler
        torch.manual_seed(3)
        losses.append(flow.loss(mel, conditions._replace(mean=mean, is_real=is_real)))
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("guidance", [0.0, 0.7])
@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_block_by_block_is_everything_at_once(conditions: Conditions, solver: str, guidance: float) -> None:
    flow = make_flow()
    noise, options = torch.randn(B, F, M), {"steps": 3, "guidance": guidance, "solver": solver}
    whole = flow.sample(noise, conditions, **options)  # type: ignore[arg-type]
    caches = flow.empty_caches(B, Sampling(**options))  # type: ignore[arg-type]
    made = []
    for start in range(0, F, 8):
        frames, patches = slice(start, start + 8), slice(start // 4, start // 4 + 2)
        part = conditions._replace(
            mean=conditions.mean[:, frames], is_real=conditions.is_real[:, frames], blocks=conditions.blocks[patches]
        )
        made.append(flow.sample(noise[:, frames], part, caches=caches, **options))  # type: ignore[arg-type]
    torch.testing.assert_close(torch.cat(made, dim=1), whole, rtol=1e-4, atol=1e-4)


def test_bad_options_name_the_remedy() -> None:
    for wrong in ({"patch_frames": 3}, {"prediction": "noise"}, {"sigma_min": 0.0}, {"steps": -1}, {"solver": "heun"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            FlowConfig(**wrong)  # type: ignore[arg-type]
