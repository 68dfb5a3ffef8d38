"""Loss sums by modality: what a micro batch reports, and the means of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .documents import ModelInputs


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Mean cross-entropy in nats; NaN where no label counted."""

    total: float
    text: float
    speech: float
    labels: int

    @classmethod
    def of(cls, sums: Tensor) -> Losses:
        """From `loss_sums`, added up over micro batches and processes."""
        text, num_text, speech, num_speech = sums.tolist()
        count = num_text + num_speech
        return cls(
            total=(text + speech) / count if count else math.nan,
            text=text / num_text if num_text else math.nan,
            speech=speech / num_speech if num_speech else math.nan,
            labels=int(count),
        )

    @property
    def is_finite(self) -> bool:
        """Whether the step may be taken (a step without any counted label may not)."""
        return math.isfinite(self.total)

    def row(self, prefix: str) -> dict[str, float]:
        """``prefix``, ``prefix.text`` and ``prefix.speech``, those there are."""
        values = {prefix: self.total, f"{prefix}.text": self.text, f"{prefix}.speech": self.speech}
        return {name: value for name, value in values.items() if not math.isnan(value)}


def loss_sums(losses: Tensor, inputs: ModelInputs) -> Tensor:
    """(4,) float64: sum and count of text labels, sum and count of speech labels.

    Args:
        losses: as ``inputs.labels``, the cross-entropy of each.
        inputs: their loss mask and modality.
    """
    counted = inputs.loss_mask > 0
    columns = []
    for chosen in (counted & ~inputs.is_speech, counted & inputs.is_speech):
        columns += [torch.where(chosen, losses.detach(), 0.0).sum(dtype=torch.float64), chosen.sum(dtype=torch.float64)]
    return torch.stack(columns)
