"""Streams of one network as rows of a batch: each at its own place, joining, leaving and resting independently.

A `Stream` is the state of one sequence that comes in pieces. `step_rows` advances some streams of a network at once:
those whose states and pieces have equal shapes run as one batch, without padding, and a stream without a piece rests
(the execution mask of moshi's StreamingModule, arXiv 2410.00037, but with a state of its own for each row). A row
therefore has the bits that it has alone, as long as the network's layers are independent of the batch: `per_stream` and
`MIN_POSITIONS` are for those that are not.

Shapes: G rows a stream (2 with classifier-free guidance), N streams; a batch is (G * N, ...), G outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

Piece = TypeVar("Piece")
Output = TypeVar("Output")

MIN_POSITIONS = 8  # the matrix product of fewer rows than that may round otherwise than a larger one


class Stream(ABC, Generic[Piece, Output]):
    """The state of one sequence in progress."""

    @abstractmethod
    def reset(self) -> None:
        """Begin anew: the state before the first piece."""

    @abstractmethod
    def shape(self, piece: Piece) -> Hashable | None:
        """The shapes of the state and of its next piece; None where the piece must run alone."""

    @classmethod
    @abstractmethod
    def step(cls, streams: Sequence[Self], pieces: Sequence[Piece]) -> list[Output]:
        """Advance streams of equal shape by a piece each, as one batch; the outputs in their order."""


def step_rows(streams: Sequence[Stream[Piece, Output]], pieces: Sequence[Piece | None]) -> dict[int, Output]:
    """Advance streams of one network by a piece each, in as few batches as their shapes allow.

    Args:
        streams: at any places of their sequences.
        pieces: one for each stream; None lets it rest.

    Returns:
        The output of each row that had a piece.
    """
    groups: dict[Hashable, dict[int, Piece]] = {}
    for row, (stream, piece) in enumerate(zip(streams, pieces, strict=True)):
        if piece is not None:
            shape = stream.shape(piece)
            groups.setdefault(("alone", row) if shape is None else ("together", shape), {})[row] = piece
    outputs: dict[int, Output] = {}
    for group in groups.values():
        rows = [streams[row] for row in group]
        outputs |= dict(zip(group, type(rows[0]).step(rows, list(group.values())), strict=True))
    return outputs


def stack_rows(parts: Sequence[Tensor]) -> Tensor:
    """(G, ...) of each stream -> (G * N, ...)."""
    return parts[0] if len(parts) == 1 else torch.stack(list(parts), dim=1).flatten(0, 1)


def split_rows(stacked: Tensor, streams: int) -> list[Tensor]:
    """(G * N, ...) -> (G, ...) of each stream, in memory of its own."""
    if streams == 1:
        return [stacked]
    return [part.clone() for part in stacked.unflatten(0, (-1, streams)).unbind(1)]


def per_stream(layer: Callable[[Tensor], Tensor], x: Tensor, streams: int) -> Tensor:
    """``layer`` over the rows of one stream at a time: for products whose rounding depends on the number of rows."""
    if streams == 1:
        return layer(x)
    return stack_rows([layer(part.contiguous()) for part in x.unflatten(0, (-1, streams)).unbind(1)])
