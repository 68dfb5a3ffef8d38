"""Optimal-transport conditional flow matching over the mel, given its regressed mean and the speaker.

Lipman et al., arXiv 2210.02747, section 4.1, example II. With noise z ~ N(0, 1) and a mel x1, time t from 0 to 1::

    path      x_t = (1 - (1 - s) t) z + t x1                    s = sigma_min
    velocity  u   = x1 - (1 - s) z

The estimator gives either the velocity or the clean mel x1, from which the velocity follows by putting
``z = (x_t - t x1) / (1 - (1 - s) t)`` into the second line::

    v = (x1 - (1 - s) x_t) / (1 - (1 - s) t)

At small budgets x1 is far better: the target is smooth and does not hold the noise. Training times are
``t = 1 - cos(u pi / 2)``, u ~ U(0, 1), and the sampler's grid follows the same curve (denser near the noise).
Guidance (arXiv 2207.12598): ``(1 + beta) v(x, condition) - beta v(x, nothing)``.

The estimator is block-causal (`decoder.backbone`) and so is each of its evaluations: a stream keeps one cache for each
and makes a block of mel frames at a constant cost, with the very noise and steps that one pass over everything has.

Shapes: B batch, F mel frames, M mel bins, P patches of `patch_frames` frames.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from runtime.data_parallel import draw_rows
from runtime.errors import check_option
from runtime.streaming import per_stream

from .backbone import BackboneCache, BlockCausalTransformer
from .config import SOLVERS, FlowConfig
from .losses import masked_mean
from .speaker import SpeakerEmbedding, Speakers

TIME_FEATURES = 64
EVALUATIONS = {"euler": 1, "midpoint": 2}  # of the velocity, a step


class Conditions(NamedTuple):
    """Conditions of a mel: its mean (B, F, M), the voices, the real frames (B, F), the patches' blocks (P,)."""

    mean: Tensor
    speakers: Speakers
    is_real: Tensor
    blocks: Tensor

    def twice(self) -> Conditions:
        """The batch, then the batch again (for guidance)."""
        mean_BFM, is_real_BF = (torch.cat([part, part]) for part in (self.mean, self.is_real))
        return Conditions(mean_BFM, self.speakers.twice(), is_real_BF, self.blocks)


class Sampling(NamedTuple):
    """Sampling options, resolved: steps of the solver (0: the regressed mean), guidance beta, solver."""

    steps: int
    guidance: float
    solver: str


class FlowMatching(nn.Module):
    """The estimator network, its training loss and the solvers.

    Args:
        config: its shape and path.
        num_mels: mel bins.
        num_speakers: voices.
        past: earlier blocks that a position sees.
        window: earlier patches that a position sees instead (see `decoder.backbone`).
        clip_width: features of a reference clip's embedding; 0 knows tags only.
    """

    def __init__(
        self,
        config: FlowConfig,
        *,
        num_mels: int,
        num_speakers: int,
        past: int,
        window: int | None = None,
        clip_width: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.num_mels = config, num_mels
        width, patch = config.estimator.width, config.patch_frames * num_mels
        self.input = nn.Linear(2 * patch, width)
        # The last row means "no condition".
        self.speaker_embedding = SpeakerEmbedding(num_speakers + 1, width, clip_width=clip_width)
        self.time_network = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.backbone = BlockCausalTransformer(config.estimator, past=past, window=window, condition_width=width)
        self.output = nn.Linear(width, patch)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)

    def path(self, mel_BFM: Tensor, noise_BFM: Tensor, time_B: Tensor) -> tuple[Tensor, Tensor]:
        """The point x_t on the path and the velocity there, (B, F, M) each."""
        keep = 1.0 - self.config.sigma_min
        time = time_B[:, None, None]
        return (1.0 - keep * time) * noise_BFM + time * mel_BFM, mel_BFM - keep * noise_BFM

    def velocity(self, clean_BFM: Tensor, point_BFM: Tensor, time_B: Tensor) -> Tensor:
        """The velocity (B, F, M) that leads from x_t at ``time_B`` to the clean mel ``clean_BFM``."""
        keep = 1.0 - self.config.sigma_min
        return (clean_BFM - keep * point_BFM) / (1.0 - keep * time_B[:, None, None])

    def estimate(
        self,
        point_BFM: Tensor,
        time_B: Tensor,
        conditions: Conditions,
        is_given_B: Tensor,
        cache: BackboneCache | None = None,
    ) -> Tensor:
        """The network's prediction (clean mel or velocity, by ``config.prediction``), (B, F, M).

        Where ``is_given_B`` is False there is no condition at all: neither voice nor mean.
        """
        patch, frames = self.config.patch_frames, point_BFM.shape[1]
        real_BF1 = conditions.is_real[..., None].to(point_BFM.dtype)
        mean_BFM = conditions.mean * is_given_B[:, None, None].to(point_BFM.dtype)
        # (B, F, M) -> (B, P, patch * M), point and mean side by side; the last patch is filled up with zeros
        filled = [nn.functional.pad(part * real_BF1, (0, 0, 0, -frames % patch)) for part in (point_BFM, mean_BFM)]
        both_BPC = torch.cat([part.unflatten(1, (-1, patch)).flatten(2) for part in filled], dim=-1)
        streams = 1 if cache is None else len(cache.positions)
        given_BD = self.speaker_embedding.voices(conditions.speakers, streams)
        voices_BD = torch.where(is_given_B[:, None], given_BD, self.speaker_embedding.weight[-1])
        time_BD = per_stream(self.time_network, time_features(time_B), streams)
        condition_BD = nn.functional.silu(time_BD + voices_BD)
        is_real_BP = conditions.is_real[:, ::patch]
        x_BPD = self.backbone(self.input(both_BPC), is_real_BP, conditions.blocks, condition_BD, cache)
        return self.output(x_BPD).float().unflatten(-1, (patch, self.num_mels)).flatten(1, 2)[:, :frames]

    def loss(self, mel_BFM: Tensor, conditions: Conditions) -> Tensor:
        """The flow-matching loss at random times, conditions dropped at random (from torch's global generator)."""
        B, device = len(mel_BFM), mel_BFM.device
        time_B = 1.0 - torch.cos(draw_rows(lambda rows: torch.rand(rows, device=device), B) * (math.pi / 2))
        is_given_B = draw_rows(lambda rows: torch.rand(rows, device=device), B) >= self.config.condition_drop
        noise_BFM = draw_rows(lambda rows: torch.randn(rows, *mel_BFM.shape[1:], dtype=mel_BFM.dtype, device=device), B)
        point_BFM, velocity_BFM = self.path(mel_BFM, noise_BFM, time_B)
        target_BFM = mel_BFM if self.config.prediction == "x1" else velocity_BFM
        estimate_BFM = self.estimate(point_BFM, time_B, conditions, is_given_B)
        return masked_mean((estimate_BFM - target_BFM).square().mean(-1), conditions.is_real)

    @torch.inference_mode()
    def sample(
        self,
        noise_BFM: Tensor,
        conditions: Conditions,
        *,
        steps: int | None = None,
        guidance: float | None = None,
        solver: str | None = None,
        caches: Sequence[BackboneCache] | None = None,
    ) -> Tensor:
        """A mel (B, F, M): the solver's way from the noise to time 1.

        Args:
            noise_BFM: standard normal.
            conditions: what to make it from.
            steps: of the solver; None is the config's, as for guidance and solver.
            guidance: beta of classifier-free guidance.
            solver: ``euler`` or ``midpoint``.
            caches: of the stream, one for each evaluation (`empty_caches`), taken on; the frames are then those of
                whole blocks, in whole patches, that follow what was made before.
        """
        sampling = self.sampling(steps, guidance, solver)

        def velocity(point_BFM: Tensor, time: float, evaluation: int) -> Tensor:
            time_B = torch.full((len(point_BFM),), time, device=point_BFM.device)
            cache = None if caches is None else caches[evaluation]
            return self.guided_velocity(point_BFM, time_B, conditions, sampling.guidance, cache)

        start_BFM = noise_BFM * self.config.temperature
        return solve(start_BFM, velocity, grid=time_grid(sampling.steps), solver=sampling.solver)

    def sampling(self, steps: int | None, guidance: float | None, solver: str | None) -> Sampling:
        """The options with the trained defaults in place of None."""
        config = self.config
        return Sampling(
            steps=config.steps if steps is None else steps,
            guidance=config.guidance if guidance is None else guidance,
            solver=solver or config.solver,
        )

    def empty_caches(self, batch: int, sampling: Sampling) -> list[BackboneCache]:
        """The caches of a stream of ``batch`` rows that begins: one for each evaluation; guidance doubles the rows."""
        rows = 2 * batch if sampling.guidance else batch
        return [self.backbone.empty_cache(rows) for _ in range(sampling.steps * EVALUATIONS[sampling.solver])]

    def guided_velocity(
        self,
        point_BFM: Tensor,
        time_B: Tensor,
        conditions: Conditions,
        guidance: float,
        cache: BackboneCache | None = None,
    ) -> Tensor:
        """The velocity (B, F, M) with classifier-free guidance; without guidance one row an example does."""
        is_given_B = torch.ones(len(point_BFM), dtype=torch.bool, device=point_BFM.device)
        if guidance:
            point, time = (torch.cat([part, part]) for part in (point_BFM, time_B))
            both = self.estimate(point, time, conditions.twice(), torch.cat([is_given_B, ~is_given_B]), cache)
            given_BFM, free_BFM = both.chunk(2)
            estimate_BFM = (1.0 + guidance) * given_BFM - guidance * free_BFM
        else:
            estimate_BFM = self.estimate(point_BFM, time_B, conditions, is_given_B, cache)
        if self.config.prediction == "velocity":
            return estimate_BFM
        return self.velocity(estimate_BFM, point_BFM, time_B)  # affine in x1 with weights that sum to 1: same guidance


def solve(
    point_BFM: Tensor, velocity: Callable[[Tensor, float, int], Tensor], *, grid: Sequence[float], solver: str
) -> Tensor:
    """Follow ``velocity(point, time, number of the evaluation)`` through the times of ``grid``."""
    for step, (now, then) in enumerate(itertools.pairwise(grid)):
        if solver == "midpoint":
            middle_BFM = point_BFM + (then - now) / 2 * velocity(point_BFM, now, 2 * step)
            point_BFM = point_BFM + (then - now) * velocity(middle_BFM, (now + then) / 2, 2 * step + 1)
        else:
            point_BFM = point_BFM + (then - now) * velocity(point_BFM, now, step)
    return point_BFM


def check_sampling(steps: int | None, guidance: float | None, solver: str | None) -> None:
    """Raise a `UserError` for options that no mel can be sampled with; None is the trained default."""
    check_option(steps is None or steps >= 0, "steps", steps, "give 0 (the mean) or more")
    check_option(guidance is None or 0 <= guidance < math.inf, "guidance", guidance, "give 0 (none) or more")
    check_option(solver is None or solver in SOLVERS, "solver", solver, f"choose {' or '.join(SOLVERS)}")


def time_grid(steps: int) -> list[float]:
    """``steps + 1`` times from 0 to 1 on the curve ``1 - cos(u pi / 2)``."""
    return [1.0 - math.cos(index / steps * math.pi / 2) for index in range(steps)] + [1.0]


def time_features(time_B: Tensor) -> Tensor:
    """Sines and cosines (B, TIME_FEATURES) of the time at periods from a few to a thousandth of the unit."""
    half = TIME_FEATURES // 2
    frequency = torch.exp(torch.linspace(0.0, math.log(1000.0), half, device=time_B.device))
    angle = time_B[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
