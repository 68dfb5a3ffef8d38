"""Batches of inference: sequences of like length together, within a bound of memory."""

from __future__ import annotations

from collections.abc import Iterator

BATCH_SECONDS = 160.0  # of an inference batch, padding included
LONGEST_BATCHED = 48.0  # seconds; longer audio is streamed, for attention costs the square of the length


def batches_by_length(
    lengths: list[int], frame_rate: float, *, longest: float = LONGEST_BATCHED
) -> Iterator[list[int]]:
    """Rows in order of length, cut into batches of at most ``BATCH_SECONDS``; empty ones are left out.

    Args:
        lengths: positions of each row.
        frame_rate: positions a second.
        longest: seconds; a longer row comes alone.
    """
    rows = sorted((row for row, length in enumerate(lengths) if length), key=lengths.__getitem__)
    batch: list[int] = []
    for row in rows:
        seconds = lengths[row] / frame_rate
        if batch and ((len(batch) + 1) * seconds > BATCH_SECONDS or seconds > longest):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
