"""The SwiGLU of the local layers' feed-forward, its gradient written out.

megatron-core's unfused feed-forward takes the two halves of one product apart and lays their gradients side by side
again, a copy that costs a tenth of a training step on a CPU.

Shapes: S tokens, B batch, F inner width (on this process).
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from megatron.core.transformer.module import MegatronModule
from torch import Tensor

BLOCK = 128  # tokens whose gradients are made at once on a CPU: what is in between stays in the cache


class SwiGLU(MegatronModule):
    """silu(gate) * up of [gate, up]."""

    def forward(self, both: Tensor) -> Tensor:
        """(S, B, 2 F) -> (S, B, F)."""
        return swiglu(both)


def swiglu(both: Tensor) -> Tensor:
    """silu(gate) * up of ``both`` (..., 2 F) = [gate, up]; returns (..., F)."""
    return cast(Tensor, _SwiGLU.apply(both))


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, both: Tensor) -> Tensor:
        context.save_for_backward(both)
        gate, up = both.chunk(2, -1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        (both,) = context.saved_tensors
        (gradient,) = gradients
        result = torch.empty_like(both)
        rows = [tensor.view(-1, tensor.size(-1)) for tensor in (both, gradient.contiguous(), result)]
        size = BLOCK if both.device.type == "cpu" else max(1, len(rows[0]))
        for part, its_gradient, its_result in zip(*(tensor.split(size) for tensor in rows), strict=True):
            gate, up = part.chunk(2, -1)
            of_gate, of_up = its_result.chunk(2, -1)
            torch.mul(its_gradient, F.silu(gate), out=of_up)
            torch.ops.aten.silu_backward.grad_input(its_gradient * up, gate, grad_input=of_gate)
        return result
