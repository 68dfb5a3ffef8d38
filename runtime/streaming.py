"""Streams of one network as rows of a batch: each at its own place, joining, leaving and resting independently.

A `Stream` is the state of one sequence that comes in pieces. `step_rows` advances some streams of a network at once:
those whose states and pieces have equal shapes run as one batch, without padding, and a stream without a piece rests
(the execution mask of moshi's StreamingModule, arXiv 2410.00037, but with a state of its own for each row). A row
therefore has the bits that it has alone, as long as the network's layers are independent of the batch: `per_stream` and
`MIN_POSITIONS` are for those that are not.

A `BlockStream` takes pieces of any size and cuts them into blocks of its own::

    for output in feed_rows(streams, [piece, None, other_piece]):     # the second one rests
    for output in finish_rows(streams):

Shapes: G rows a stream (2 with classifier-free guidance), N streams; a batch is (G * N, ...), G outside.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Piece = TypeVar("Piece")
Output = TypeVar("Output")
Array = npt.NDArray[Any]

MIN_POSITIONS = 8  # the matrix product of fewer rows than that may round otherwise than a larger one


class Stream(ABC, Generic[Piece, Output]):
    """The state of one sequence in progress."""

    @abstractmethod
    def reset(self) -> None:
        """Begin anew: the state before the first piece."""

    def fork(self) -> Self:
        """A stream at the same place that goes on by itself; tensors are shared, since no step changes one in place."""
        return copy.copy(self)

    @abstractmethod
    def shape(self, piece: Piece) -> Hashable | None:
        """The shapes of the state and of its next piece; None where the piece must run alone."""

    @classmethod
    @abstractmethod
    def step(cls, streams: Sequence[Self], pieces: Sequence[Piece]) -> list[Output]:
        """Advance streams of equal shape by a piece each, as one batch; the outputs in their order."""


class BlockStream(Stream[Piece, Array]):
    """A stream that takes arrays of any length and works in blocks, `Piece`; the outputs of blocks are arrays.

    Attributes:
        input_type: of the arrays that it takes.
        output_type: of its outputs.
    """

    input_type: ClassVar[type[np.generic]]
    output_type: ClassVar[type[np.generic]]

    @abstractmethod
    def check(self, piece: Array, *, is_last: bool) -> None:
        """Raise a `UserError` unless the stream can take ``piece``; ``is_last``: nothing follows it."""

    @abstractmethod
    def append(self, piece: Array, *, is_last: bool) -> None:
        """Take a piece, which is checked; ``is_last``: nothing follows it."""

    @abstractmethod
    def next_block(self) -> Piece | None:
        """The next block that can be worked on; None until more comes. After the last block the stream is over."""

    def no_output(self) -> Array:
        """An output of length 0."""
        return np.zeros(0, dtype=self.output_type)


class Feed(Generic[Piece]):
    """A piece of input on its way through a stream, block by block.

    Args:
        stream: it takes the piece.
        piece: checked by `BlockStream.check`; may be empty.
        is_last: nothing follows it.

    Attributes:
        block: the next one; None when the piece is worked off.
    """

    def __init__(self, stream: BlockStream[Piece], piece: Array, *, is_last: bool) -> None:
        self.stream, self.outputs = stream, list[Array]()
        stream.append(piece, is_last=is_last)
        self.block = stream.next_block()

    @property
    def shape(self) -> Hashable | None:
        """The shapes of the stream's state and of its next block; None where that must run alone."""
        return None if self.block is None else self.stream.shape(self.block)

    def take(self, output: Array) -> None:
        """Take the output of the block, and go on to the next one."""
        self.outputs.append(output)
        self.block = self.stream.next_block()

    def result(self) -> Array:
        """The outputs so far as one array, perhaps an empty one."""
        return np.concatenate([self.stream.no_output(), *self.outputs])


def feed_rows(
    streams: Sequence[BlockStream[Piece]], pieces: Sequence[Array | None], *, is_last: bool = False
) -> list[Array]:
    """Feed streams of one network as rows of a batch; the outputs of each, as each alone would give them.

    Args:
        streams: at any places of their sequences.
        pieces: one for each stream; None lets it rest.
        is_last: nothing follows in the streams that have a piece.

    Raises:
        UserError: a stream cannot take its piece; then none has advanced.
    """
    given = {row: np.asarray(piece) for row, piece in enumerate(pieces) if piece is not None}
    for row, piece in given.items():
        streams[row].check(piece, is_last=is_last)
    feeds = {row: Feed(streams[row], piece, is_last=is_last) for row, piece in given.items()}
    while any(feed.block is not None for feed in feeds.values()):
        blocks = [feeds[row].block if row in feeds else None for row in range(len(streams))]
        for row, output in step_rows(streams, blocks).items():
            feeds[row].take(output)
    return [feeds[row].result() if row in feeds else stream.no_output() for row, stream in enumerate(streams)]


def finish_rows(streams: Sequence[BlockStream[Piece]]) -> list[Array]:
    """Finish streams of one network as rows of a batch; the remaining outputs of each.

    Raises:
        UserError: a stream cannot end; then none has advanced.
    """
    return feed_rows(streams, [np.zeros(0, dtype=stream.input_type) for stream in streams], is_last=True)


def step_apart(feeds: Sequence[Feed[Piece]]) -> list[Exception | None]:
    """Advance feeds of equal shape by a block each, as one batch; where that fails, each of them alone.

    Returns:
        The error of each feed that fails alone, too: a row that cannot be computed takes no other one along.
    """
    places = [feed.stream.fork() for feed in feeds] if len(feeds) > 1 else []
    try:
        outputs = _step([feed.stream for feed in feeds], feeds)
    except Exception as error:
        if len(feeds) == 1:
            return [error]
        for feed, place in zip(feeds, places, strict=True):
            vars(feed.stream).update(vars(place))  # back to where it was
        return [error for feed in feeds for error in step_apart([feed])]
    for feed, output in zip(feeds, outputs, strict=True):
        feed.take(output)
    return [None] * len(feeds)


def _step(streams: Sequence[BlockStream[Piece]], feeds: Sequence[Feed[Piece]]) -> list[Array]:
    return type(streams[0]).step(streams, [feed.block for feed in feeds if feed.block is not None])


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
