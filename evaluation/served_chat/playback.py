"""Playback model of speech that arrives in pieces: start, gaps and end, without playing anything.

A player that starts with the first piece (or ``prebuffer`` seconds later) needs every sample at a known moment, its due
time. A piece that arrives after its due time makes a gap and delays all that follows by its length.

S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Arrival(NamedTuple):
    """A piece of speech: time of arrival (seconds of any one clock) and number of samples."""

    at: float
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class Playback:
    """Speech as a player renders it.

    Attributes:
        started: time of the first sample.
        ended: time after the last sample.
        gaps: seconds of each silence within it caused by late samples.
        head_start: the smallest prebuffer (seconds) that would have left no gap.
    """

    started: float
    ended: float
    gaps: tuple[float, ...]
    head_start: float


def play(arrivals: Sequence[Arrival], sample_rate: int, prebuffer: float = 0.0) -> Playback | None:
    """Compute the playback; None without samples.

    Args:
        arrivals: in the order of arrival.
        sample_rate: in Hz.
        prebuffer: seconds between the first piece and the first sound.
    """
    pieces = [piece for piece in arrivals if piece.num_samples]
    if not pieces:
        return None
    started = due = pieces[0].at + prebuffer
    gaps = []
    head_start, before = 0.0, 0
    for piece in pieces:
        head_start = max(head_start, piece.at - pieces[0].at - before / sample_rate)
        if piece.at > due:
            gaps.append(piece.at - due)
            due = piece.at
        before += piece.num_samples
        due += piece.num_samples / sample_rate
    return Playback(started=started, ended=due, gaps=tuple(gaps), head_start=head_start)
