"""Few steps: a pupil learns to go in one step as far as its teacher goes in many, guidance included.

With n steps for the teacher's N (n divides N), the times t_0 ... t_n of the pupil's grid lie on the teacher's. The
teacher walks from the noise to x_k at t_k and on to x_k+1; the pupil, put at x_k, shall have the mean velocity of that
stretch (the discrete form of MeanFlow, arXiv 2505.13447, and of progressive distillation, arXiv 2202.00512)::

    u(x_k, t_k) = (x_k+1 - x_k) / (t_k+1 - t_k)

so that its Euler step from x_k ends where the teacher's many steps do. The teacher's guidance is part of what it walks:
the pupil needs none, and n evaluations of one row take the place of N of two. Encoder, speaker encoder and vocoder stay
as they are; only the flow learns, from the teacher's weights on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from runtime.errors import UserError

from .encoder import masked_mean
from .flow import Conditions, solve, time_grid
from .model import SpeechDecoder
from .recordings import Clips
from .speaker import FROM_CLIP, Speakers


class Distillation:
    """A frozen teacher and the pupil that has its weights.

    Args:
        teacher: a trained decoder; its steps, guidance and solver are what is taught.
        pupil: another one of the same weights; its flow is changed to ``steps`` Euler steps without guidance.
        steps: of the pupil.

    Raises:
        UserError: the teacher takes no more steps than the pupil, or not a multiple of them.
    """

    def __init__(self, teacher: SpeechDecoder, pupil: SpeechDecoder, steps: int) -> None:
        taught = teacher.config.flow.steps
        if taught <= steps or taught % steps:
            found = f"{steps}, but the teacher takes {taught}"
            raise UserError("option flow.steps", found=found, remedy="give a number that divides the teacher's")
        self.teacher, self.pupil, self.steps = teacher.eval().requires_grad_(False), pupil, steps
        pupil.config.flow.steps, pupil.config.flow.guidance, pupil.config.flow.solver = steps, 0.0, "euler"
        for part in (pupil.encoder, pupil.speaker_encoder):
            if part is not None:
                part.requires_grad_(False)

    def loss(
        self, tokens_BT: Tensor, mel_BFM: Tensor, rows_B: Tensor, is_real_BT: Tensor, *, clips: Clips | None
    ) -> dict[str, Tensor]:
        """The squared distance to the teacher on one stretch, drawn from torch's global generator as is the noise.

        The recorded mel is not looked at: the teacher says what is right.
        """
        number = int(torch.randint(self.steps, ()))
        noise_BFM = torch.randn_like(mel_BFM)
        with torch.no_grad():
            conditions = self.conditions(tokens_BT, rows_B, is_real_BT, clips)
            here_BFM, there_BFM = self.stretch(noise_BFM, conditions, number)
        now, then = time_grid(self.steps)[number : number + 2]
        time_B = torch.full((len(mel_BFM),), now, device=mel_BFM.device)
        target_BFM = (there_BFM - here_BFM) / (then - now)
        if self.pupil.config.flow.prediction == "x1":  # the clean mel that has this velocity
            keep = 1.0 - self.pupil.config.flow.sigma_min
            target_BFM = target_BFM * (1.0 - keep * now) + keep * here_BFM
        is_given_B = torch.ones(len(mel_BFM), dtype=torch.bool, device=mel_BFM.device)
        estimate_BFM = self.pupil.flow.estimate(here_BFM, time_B, conditions, is_given_B)
        loss = masked_mean((estimate_BFM - target_BFM).square().mean(-1), conditions.is_real)
        return {"loss": loss, f"stretch_{number + 1}": loss}

    def conditions(self, tokens_BT: Tensor, rows_B: Tensor, is_real_BT: Tensor, clips: Clips | None) -> Conditions:
        """What both make the mel from."""
        speakers = Speakers(rows_B)
        if clips is not None and self.teacher.speaker_encoder is not None:
            heard_BE = self.teacher.speaker_encoder(clips.mel, clips.is_real)
            speakers = Speakers(torch.where(clips.is_used, FROM_CLIP, rows_B), heard_BE)
        return self.teacher.conditions(tokens_BT, speakers, is_real_BT)

    def stretch(self, noise_BFM: Tensor, conditions: Conditions, number: int) -> tuple[Tensor, Tensor]:
        """Where the teacher is at the beginning and at the end of the pupil's step ``number``, (B, F, M) each."""
        flow = self.teacher.config.flow
        grid = time_grid(flow.steps)
        many = flow.steps // self.steps

        def velocity(point_BFM: Tensor, time: float, _evaluation: int) -> Tensor:
            time_B = torch.full((len(point_BFM),), time, device=point_BFM.device)
            return self.teacher.flow.guided_velocity(point_BFM, time_B, conditions, flow.guidance)

        start_BFM = noise_BFM * flow.temperature
        here_BFM = solve(start_BFM, velocity, grid=grid[: number * many + 1], solver=flow.solver)
        until = grid[number * many : (number + 1) * many + 1]
        return here_BFM, solve(here_BFM, velocity, grid=until, solver=flow.solver)

    @torch.inference_mode()
    def distances(self, tokens_BT: Tensor, speakers: Speakers, is_real_BT: Tensor) -> dict[str, float]:
        """How far from the teacher's mel that of the pupil is, and that of the teacher in as many steps."""
        inputs = (tokens_BT, speakers, is_real_BT)
        right_BFM = self.teacher.mel(*inputs)
        made = {
            "pupil.teacher_distance": self.pupil.mel(*inputs),
            "pupil.untaught_distance": self.teacher.mel(*inputs, steps=self.steps, solver="euler"),
        }
        return {name: float((mel_BFM - right_BFM).abs().mean()) for name, mel_BFM in made.items()}
