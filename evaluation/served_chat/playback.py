"""What a listener hears of speech that arrives in pieces: when it begins, where it stops short, when it ends.

Nothing is played: a player that starts with the first piece (or ``prebuffer`` seconds later) and plays on without a
break would need every sample at a known moment, its due time. A piece that comes after its due time makes a gap, and
moves what follows by as much.

S samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Arrival(NamedTuple):
    """A piece of speech: when it came (seconds of any one clock) and how many samples it holds."""

    at: float
    num_samples: int


@dataclass(frozen=True, kw_only=True)
class Playback:
    """Speech as it was heard.

    Attributes:
        started: when the first sample was played.
        ended: when the last one was.
        gaps: seconds of each silence within it, for want of samples.
        head_start: the smallest prebuffer (seconds) that would have left no gap.
    """

    started: float
    ended: float
    gaps: tuple[float, ...]
    head_start: float


def play(arrivals: Sequence[Arrival], sample_rate: int, prebuffer: float = 0.0) -> Playback | None:
    """Play the pieces in time only; None where not one sample came.

    Args:
        arrivals: in the order in which they came.
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
