"""Loss sums by modality: the report of a micro batch, and the means over micro batches and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lm.data.model_inputs import ModelInputs

NUM_SUMS = 6


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Sums over counted labels; the means are NaN where no label counted.

    Attributes:
        text_sum: cross-entropy of text labels, in nats.
        text_labels: their number.
        speech_sum: cross-entropy of speech labels.
        speech_labels: their number.
        square_sum: squared log normalisers, for the z-loss (0 where it is off).
        divergence_sum: divergences from the model that reads the transcripts (0 where they are no loss).
    """

    text_sum: float = 0.0
    text_labels: float = 0.0
    speech_sum: float = 0.0
    speech_labels: float = 0.0
    square_sum: float = 0.0
    divergence_sum: float = 0.0

    @classmethod
    def from_sums(cls, sums: Tensor) -> Losses:
        """From `loss_sums`, added up over micro batches and processes."""
        text, num_text, speech, num_speech, square, divergence = sums.tolist()
        return cls(
            text_sum=text,
            text_labels=num_text,
            speech_sum=speech,
            speech_labels=num_speech,
            square_sum=square,
            divergence_sum=divergence,
        )

    def __add__(self, other: Losses) -> Losses:
        return Losses(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    @property
    def labels(self) -> float:
        """Number of labels that counted."""
        return self.text_labels + self.speech_labels

    @property
    def total(self) -> float:
        """Mean cross-entropy."""
        return _mean(self.text_sum + self.speech_sum, self.labels)

    @property
    def square(self) -> float:
        """Mean squared log normaliser."""
        return _mean(self.square_sum, self.labels)

    @property
    def divergence(self) -> float:
        """Mean divergence from the model that reads the transcripts."""
        return _mean(self.divergence_sum, self.labels)

    @property
    def is_finite(self) -> bool:
        """Whether the step may be taken (not without any counted label); `are_finite` says it on a device."""
        return all(map(math.isfinite, (self.total, self.square, self.divergence)))

    def row(self, prefix: str) -> dict[str, float]:
        """``prefix``, ``prefix.text`` and ``prefix.speech``, those there are."""
        text, speech = _mean(self.text_sum, self.text_labels), _mean(self.speech_sum, self.speech_labels)
        values = {prefix: self.total, f"{prefix}.text": text, f"{prefix}.speech": speech}
        return {name: value for name, value in values.items() if not math.isnan(value)}


def loss_sums(
    losses: Tensor, inputs: ModelInputs, *, squares: Tensor | None = None, divergences: Tensor | None = None
) -> Tensor:
    """(6,) float64: the fields of `Losses`.

    Args:
        losses: as ``inputs.labels``, the cross-entropy of each.
        inputs: their loss mask and modality.
        squares: likewise the squared log normalisers, or None.
        divergences: of the labels that count, or None.
    """
    counted = inputs.loss_mask > 0
    columns = []
    for chosen in (counted & ~inputs.is_speech, counted & inputs.is_speech):
        columns += [torch.where(chosen, losses.detach(), 0.0).sum(dtype=torch.float64), chosen.sum(dtype=torch.float64)]
    zero = columns[0].new_zeros(())
    square = zero if squares is None else (squares.detach() * counted).sum(dtype=torch.float64)
    return torch.stack(
        [*columns, square, zero if divergences is None else divergences.detach().sum(dtype=torch.float64)]
    )


def are_finite(sums: Tensor) -> Tensor:
    """Whether (6,) sums, see `loss_sums`, are `Losses.is_finite`: a tensor () on their device."""
    return sums.isfinite().all() & (sums[1] + sums[3] > 0)


def _mean(total: float, count: float) -> float:
    return total / count if count else math.nan
