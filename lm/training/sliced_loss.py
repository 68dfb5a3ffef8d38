"""Cross-entropy of hidden states, slice by slice of the vocabulary: the scores of all ids never lie in memory at once.

    loss = log Z - score of the label,  score = hidden . row of the id,  log Z = log sum exp(score)

The forward pass keeps log Z alone; the backward pass makes each slice's scores again, and from them the gradient of
the slice's rows, whole, and its part of the hidden states' gradient, which is added up in fp32. It costs a third more
of the output layer's operations.

Shapes: S tokens of a sequence, B batch, N = S x B, D width, W = V / tensor parallel size ids of this process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor


def sliced_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, group: dist.ProcessGroup, slices: int
) -> tuple[Tensor, Tensor]:
    """Losses and log normalisers, both (S, B) in fp32.

    Args:
        hidden: (S, B, D), the same on all processes of ``group``; its gradient is this process's part of the sum.
        weight: (W, D), the rows of this process's ids.
        labels: (S, B).
        group: the processes that share the vocabulary.
        slices: number of slices of W.
    """
    return cast(tuple[Tensor, Tensor], _SlicedCrossEntropy.apply(hidden, weight, labels, group, slices))


class _SlicedCrossEntropy(torch.autograd.Function):
    """d loss / d score = softmax - onehot, d log Z / d score = softmax."""

    @staticmethod
    def forward(
        context: Any, hidden: Tensor, weight: Tensor, labels: Tensor, group: dist.ProcessGroup, slices: int
    ) -> tuple[Tensor, Tensor]:
        hidden_ND, places_N = hidden.reshape(-1, hidden.size(-1)), labels.reshape(-1) - group.rank() * weight.size(0)
        largest = torch.full_like(places_N, float("-inf"), dtype=torch.float32)
        total, chosen = torch.zeros_like(largest), torch.zeros_like(largest)
        for begin, end in _bounds(weight.size(0), slices):
            scores = (hidden_ND @ weight[begin:end].t()).float()
            place, is_here = _within(places_N, begin, end)
            chosen += torch.where(is_here, scores.gather(-1, place)[:, 0], 0.0)
            higher = torch.maximum(largest, scores.amax(-1))
            total.mul_((largest - higher).exp()).add_(scores.sub_(higher[:, None]).exp_().sum(-1))
            largest = higher
            del scores  # before the next slice's are made
        if group.size() > 1:
            higher = largest.clone()
            dist.all_reduce(higher, op=dist.ReduceOp.MAX, group=group)
            both = torch.stack([chosen, total * (largest - higher).exp()])
            dist.all_reduce(both, group=group)
            chosen, total, largest = both[0], both[1], higher
        normaliser_N = total.log() + largest
        context.save_for_backward(hidden, weight, places_N, normaliser_N)
        context.slices = slices
        return (normaliser_N - chosen).view(labels.shape), normaliser_N.view(labels.shape)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, places_N, normaliser_N = context.saved_tensors
        hidden_ND = hidden.reshape(-1, hidden.size(-1))
        of_loss, of_normaliser = (gradient.reshape(-1) for gradient in gradients)
        hidden_gradient = torch.zeros(hidden_ND.shape, dtype=torch.float32, device=hidden.device)
        weight_gradient = torch.empty_like(weight) if context.needs_input_grad[1] else None
        for begin, end in _bounds(weight.size(0), context.slices):
            rows = weight[begin:end]
            scores = (hidden_ND @ rows.t()).float().sub_(normaliser_N[:, None]).exp_()
            scores.mul_((of_loss + of_normaliser)[:, None])
            place, is_here = _within(places_N, begin, end)
            scores.scatter_add_(-1, place, -(of_loss * is_here)[:, None])
            scores = scores.to(hidden.dtype)
            hidden_gradient += scores @ rows
            if weight_gradient is not None:
                torch.mm(scores.t(), hidden_ND, out=weight_gradient[begin:end])
            del scores
        return hidden_gradient.to(hidden.dtype).view(hidden.shape), weight_gradient, None, None, None


def _bounds(size: int, slices: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each slice; all but the last are equally large."""
    width = -(-size // slices)
    for begin in range(0, size, width):
        yield begin, min(size, begin + width)


def _within(places_N: Tensor, begin: int, end: int) -> tuple[Tensor, Tensor]:
    """Columns (N, 1) of the labels within a slice (0 elsewhere), and whether they lie in it (N,)."""
    is_here = (places_N >= begin) & (places_N < end)
    return torch.where(is_here, places_N - begin, 0)[:, None], is_here
