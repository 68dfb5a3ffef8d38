"""Distillation to few steps: a student takes in one step as far a way as its teacher in several, guidance included.

With n steps for the teacher's N (n divides N), the times t_0 ... t_n of the student's grid lie on the teacher's. The
teacher goes from the noise to x_k at t_k and on to x_k+1; the student's target at x_k is the mean velocity of that
stretch (the discrete form of MeanFlow, arXiv 2505.13447, and of progressive distillation, arXiv 2202.00512)::

    u(x_k, t_k) = (x_k+1 - x_k) / (t_k+1 - t_k)

so that its Euler step from x_k ends where the teacher's steps do. The teacher's guidance is part of its path: the
student needs none, and n evaluations of one row take the place of N of two. Encoder, speaker encoder and vocoder stay
as they are; only the flow is trained, from the teacher's weights on.
"""

from __future__ import annotations

import torch
from torch import Tensor

from decoder.flow import Conditions, solve, time_grid
from decoder.losses import masked_mean
from decoder.model import SpeechDecoder
from decoder.speaker import FROM_CLIP, Clips, Speakers
from runtime.data_parallel import draw_rows
from runtime.errors import UserError


class Distillation:
    """A frozen teacher and the student that has its weights.

    Args:
        teacher: a trained decoder; its steps, guidance and solver define the target.
        student: another one of the same weights; its flow is changed to ``steps`` Euler steps without guidance.
        steps: of the student.

    Raises:
        UserError: the teacher takes no more steps than the student, or not a multiple of them.
    """

    def __init__(self, teacher: SpeechDecoder, student: SpeechDecoder, steps: int) -> None:
        teacher_steps = teacher.config.flow.steps
        if teacher_steps <= steps or teacher_steps % steps:
            found = f"{steps}, but the teacher takes {teacher_steps}"
            raise UserError("option flow.steps", found=found, remedy="give a number that divides the teacher's")
        self.teacher, self.student, self.steps = teacher.eval().requires_grad_(False), student, steps
        student.config.flow.steps, student.config.flow.guidance, student.config.flow.solver = steps, 0.0, "euler"
        for part in (student.encoder, student.speaker_encoder):
            if part is not None:
                part.requires_grad_(False)

    def loss(
        self, tokens_BT: Tensor, mel_BFM: Tensor, rows_B: Tensor, is_real_BT: Tensor, *, clips: Clips | None
    ) -> dict[str, Tensor]:
        """The squared distance to the teacher on one stretch, drawn from torch's generator as is the noise.

        Of the recorded mel only the shape is used: the target is the teacher's.
        """
        number = int(torch.randint(self.steps, ()))
        noise_BFM = draw_rows(
            lambda rows: torch.randn(rows, *mel_BFM.shape[1:], dtype=mel_BFM.dtype, device=mel_BFM.device), len(mel_BFM)
        )
        with torch.no_grad():
            conditions = self.conditions(tokens_BT, rows_B, is_real_BT, clips)
            start_BFM, end_BFM = self.stretch(noise_BFM, conditions, number)
        now, then = time_grid(self.steps)[number : number + 2]
        time_B = torch.full((len(mel_BFM),), now, device=mel_BFM.device)
        target_BFM = (end_BFM - start_BFM) / (then - now)
        if self.student.config.flow.prediction == "x1":  # the clean mel that has this velocity
            keep = 1.0 - self.student.config.flow.sigma_min
            target_BFM = target_BFM * (1.0 - keep * now) + keep * start_BFM
        is_given_B = torch.ones(len(mel_BFM), dtype=torch.bool, device=mel_BFM.device)
        estimate_BFM = self.student.flow.estimate(start_BFM, time_B, conditions, is_given_B)
        loss = masked_mean((estimate_BFM - target_BFM).square().mean(-1), conditions.is_real)
        return {"loss": loss, f"stretch_{number + 1}": loss}

    def conditions(self, tokens_BT: Tensor, rows_B: Tensor, is_real_BT: Tensor, clips: Clips | None) -> Conditions:
        """The conditions of teacher and student."""
        speakers = Speakers(rows_B)
        if clips is not None and self.teacher.speaker_encoder is not None:
            clips_BE = self.teacher.speaker_encoder(clips.mel, clips.is_real)
            speakers = Speakers(torch.where(clips.is_used, FROM_CLIP, rows_B), clips_BE)
        return self.teacher.conditions(tokens_BT, speakers, is_real_BT)

    def stretch(self, noise_BFM: Tensor, conditions: Conditions, number: int) -> tuple[Tensor, Tensor]:
        """The teacher's points at the beginning and at the end of the student's step ``number``, (B, F, M) each."""
        flow = self.teacher.config.flow
        grid = time_grid(flow.steps)
        ratio = flow.steps // self.steps

        def velocity(point_BFM: Tensor, time: float, _evaluation: int) -> Tensor:
            time_B = torch.full((len(point_BFM),), time, device=point_BFM.device)
            return self.teacher.flow.guided_velocity(point_BFM, time_B, conditions, flow.guidance)

        noise_BFM = noise_BFM * flow.temperature
        start_BFM = solve(noise_BFM, velocity, grid=grid[: number * ratio + 1], solver=flow.solver)
        until = grid[number * ratio : (number + 1) * ratio + 1]
        return start_BFM, solve(start_BFM, velocity, grid=until, solver=flow.solver)

    @torch.inference_mode()
    def distances(self, tokens_BT: Tensor, speakers: Speakers, is_real_BT: Tensor) -> dict[str, float]:
        """Distances to the teacher's mel: of the student's, and of the teacher's own in as many Euler steps."""
        inputs = (tokens_BT, speakers, is_real_BT)
        target_BFM = self.teacher.mel(*inputs)
        mels = {  # names of metrics of finished runs
            "pupil.teacher_distance": self.student.mel(*inputs),
            "pupil.untaught_distance": self.teacher.mel(*inputs, steps=self.steps, solver="euler"),
        }
        return {name: float((mel_BFM - target_BFM).abs().mean()) for name, mel_BFM in mels.items()}
