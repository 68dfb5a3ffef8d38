"""Overlap-add: windows of a short-time Fourier transform back to one waveform."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def overlap_add(windows_BFW: Tensor, hop: int) -> Tensor:
    """Sum (B, F, W) windows, each ``hop`` samples after the one before: (B, (F - 1) * hop + W)."""
    B, frames, width = windows_BFW.shape
    length = (frames - 1) * hop + width
    # fold wants (B, W, F) and gives (B, 1, length, 1)
    return F.fold(windows_BFW.transpose(1, 2), (length, 1), (width, 1), stride=(hop, 1)).view(B, length)
