"""Layers whose output is normalised before it joins the residual stream (the sandwich norms of GLM-4-0414).

x + norm(attention(norm(x))), then x + norm(mlp(norm(x))). The norm belongs to the row-parallel linear layer that ends
attention and feed-forward: behind its sum over tensor parallel processes the hidden state is whole again.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from .norm import RMSNorm


@cache
def with_output_norm(linear: type) -> type:
    """A subclass of a row-parallel linear layer with an `RMSNorm` (``output_norm``) over its output."""

    class NormedLinear(linear):  # megatron-core's or Transformer Engine's
        def __init__(self, input_size: int, output_size: int, *, config: Any, **options: Any) -> None:
            super().__init__(input_size, output_size, config=config, **options)
            self.output_norm = RMSNorm(config, output_size, config.layernorm_epsilon)

        def forward(self, *arguments: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
            output, bias = super().forward(*arguments, **options)
            assert bias is None, "a bias would be added behind the norm"
            return self.output_norm(output), None

    return NormedLinear
