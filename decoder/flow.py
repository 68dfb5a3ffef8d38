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

Shapes: B batch, F mel frames, M mel bins, P patches of `patch_frames` frames.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from .backbone import Backbone
from .config import FlowConfig
from .encoder import masked_mean

TIME_FEATURES = 64


class FlowMatching(nn.Module):
    """The estimator network, its training loss and the Euler sampler.

    Args:
        config: its shape and path.
        num_mels: mel bins.
        num_speakers: voices.
        block: mel frames per block of the estimator's attention; 0 is one block over everything.
        past: earlier blocks that a position sees.
    """

    def __init__(self, config: FlowConfig, *, num_mels: int, num_speakers: int, block: int, past: int) -> None:
        super().__init__()
        self.config, self.num_mels = config, num_mels
        width, patch = config.estimator.width, config.patch_frames * num_mels
        assert block % config.patch_frames == 0, "a block is a whole number of patches"
        self.input = nn.Linear(2 * patch, width)
        self.nothing = num_speakers  # the speaker row that means "no condition"
        self.speaker_embedding = nn.Embedding(num_speakers + 1, width)
        self.time_network = nn.Sequential(nn.Linear(TIME_FEATURES, width), nn.SiLU(), nn.Linear(width, width))
        self.backbone = Backbone(config.estimator, block=block // config.patch_frames, past=past, condition_width=width)
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
        self, point_BFM: Tensor, time_B: Tensor, mean_BFM: Tensor, speakers_B: Tensor, is_real_BF: Tensor
    ) -> Tensor:
        """What the network predicts (clean mel or velocity, by ``config.prediction``), (B, F, M).

        The speaker ``self.nothing`` stands for no condition at all: the mean is left out too.
        """
        patch = self.config.patch_frames
        has_condition = (speakers_B != self.nothing)[:, None, None]
        mean_BFM = torch.where(has_condition, mean_BFM, torch.zeros_like(mean_BFM))
        # (B, F, M) -> (B, P, patch * M), point and mean side by side
        both = [part.unflatten(1, (-1, patch)).flatten(2) for part in (point_BFM, mean_BFM)]
        condition_BD = nn.functional.silu(self.time_network(time_features(time_B)) + self.speaker_embedding(speakers_B))
        x_BPD = self.backbone(self.input(torch.cat(both, dim=-1)), is_real_BF[:, ::patch], condition_BD)
        return self.output(x_BPD).float().unflatten(-1, (patch, self.num_mels)).flatten(1, 2)

    def loss(self, mel_BFM: Tensor, mean_BFM: Tensor, speakers_B: Tensor, is_real_BF: Tensor) -> Tensor:
        """The flow-matching loss at random times (torch's global generator), conditions dropped at random."""
        B = len(mel_BFM)
        time_B = 1.0 - torch.cos(torch.rand(B, device=mel_BFM.device) * (math.pi / 2))
        is_dropped_B = torch.rand(B, device=mel_BFM.device) < self.config.condition_drop
        speakers_B = torch.where(is_dropped_B, torch.full_like(speakers_B, self.nothing), speakers_B)
        point_BFM, velocity_BFM = self.path(mel_BFM, torch.randn_like(mel_BFM), time_B)
        target_BFM = mel_BFM if self.config.prediction == "x1" else velocity_BFM
        estimate_BFM = self.estimate(point_BFM, time_B, mean_BFM, speakers_B, is_real_BF)
        return masked_mean((estimate_BFM - target_BFM).square().mean(-1), is_real_BF)

    @torch.inference_mode()
    def sample(
        self,
        noise_BFM: Tensor,
        mean_BFM: Tensor,
        speakers_B: Tensor,
        is_real_BF: Tensor,
        *,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Tensor:
        """A mel (B, F, M): Euler steps from the noise to time 1; steps and guidance default to the config's."""
        steps = self.config.steps if steps is None else steps
        guidance = self.config.guidance if guidance is None else guidance
        point_BFM = noise_BFM * self.config.temperature
        grid = time_grid(steps)
        for now, then in itertools.pairwise(grid):
            time_B = torch.full((len(point_BFM),), now, device=point_BFM.device)
            velocity_BFM = self.guided_velocity(point_BFM, time_B, mean_BFM, speakers_B, is_real_BF, guidance)
            point_BFM = point_BFM + (then - now) * velocity_BFM
        return point_BFM

    def guided_velocity(
        self,
        point_BFM: Tensor,
        time_B: Tensor,
        mean_BFM: Tensor,
        speakers_B: Tensor,
        is_real_BF: Tensor,
        guidance: float,
    ) -> Tensor:
        """The velocity (B, F, M) with classifier-free guidance; without guidance one evaluation does."""
        if guidance:
            nothing_B = torch.full_like(speakers_B, self.nothing)
            point, time, mean, is_real = (torch.cat([x, x]) for x in (point_BFM, time_B, mean_BFM, is_real_BF))
            both = self.estimate(point, time, mean, torch.cat([speakers_B, nothing_B]), is_real)
            given_BFM, free_BFM = both.chunk(2)
            estimate_BFM = (1.0 + guidance) * given_BFM - guidance * free_BFM
        else:
            estimate_BFM = self.estimate(point_BFM, time_B, mean_BFM, speakers_B, is_real_BF)
        if self.config.prediction == "velocity":
            return estimate_BFM
        return self.velocity(estimate_BFM, point_BFM, time_B)  # affine in x1 with weights that sum to 1: same guidance


def time_grid(steps: int) -> list[float]:
    """``steps + 1`` times from 0 to 1 on the curve ``1 - cos(u pi / 2)``."""
    return [1.0 - math.cos(index / steps * math.pi / 2) for index in range(steps)] + [1.0]


def time_features(time_B: Tensor) -> Tensor:
    """Sines and cosines (B, TIME_FEATURES) of the time at periods from a few to a thousandth of the unit."""
    half = TIME_FEATURES // 2
    frequency = torch.exp(torch.linspace(0.0, math.log(1000.0), half, device=time_B.device))
    angle = time_B[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)
