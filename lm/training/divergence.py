"""Divergence of a model's distributions from a teacher's, over a vocabulary that tensor parallel processes share.

    KL(p || q) = sum_v p(v) (log p(v) - log q(v)),  p = softmax(teacher / T),  q = softmax(student / T)

Ultravox's loss (fixie-ai/ultravox, ``Response_KL``, T = 2, no factor T^2): the teacher is the same frozen language
model, which reads the transcript where the student hears the speech.

Shapes: N targets, V ids, W = V / tensor parallel size.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


def divergence(student_NW: Tensor, teacher_NW: Tensor, temperature: float, group: dist.ProcessGroup) -> Tensor:
    """The divergence of each target (N,) in fp32; gradients go to the student alone.

    Args:
        student_NW: logits, this process's part of the ids.
        teacher_NW: logits.
        temperature: T.
        group: the processes that share the vocabulary.
    """
    return cast(Tensor, _Divergence.apply(student_NW, teacher_NW, temperature, group))


class _Divergence(torch.autograd.Function):
    """d KL / d student = (q - p) / T."""

    @staticmethod
    def forward(
        context: Any, student_NW: Tensor, teacher_NW: Tensor, temperature: float, group: dist.ProcessGroup
    ) -> Tensor:
        log_q_NW, log_p_NW = (log_softmax(one.float() / temperature, group) for one in (student_NW, teacher_NW))
        p_NW = log_p_NW.exp()
        found_N = (p_NW * (log_p_NW - log_q_NW)).sum(-1)
        if group.size() > 1:
            dist.all_reduce(found_N, group=group)
        context.save_for_backward(log_q_NW.exp_().sub_(p_NW).div_(temperature))
        context.dtype = student_NW.dtype
        return found_N

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (difference_NW,) = context.saved_tensors
        return (difference_NW * gradients[0][:, None]).to(context.dtype), None, None, None


def log_softmax(scores_NW: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Logarithms of the probabilities of this process's part of the ids."""
    largest_N = scores_NW.amax(-1)
    if group.size() > 1:
        dist.all_reduce(largest_N, op=dist.ReduceOp.MAX, group=group)
    scores_NW = scores_NW - largest_N[:, None]
    total_N = scores_NW.exp().sum(-1)
    if group.size() > 1:
        dist.all_reduce(total_N, group=group)
    return scores_NW - total_N.log()[:, None]
