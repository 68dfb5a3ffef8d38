"""Speech of the user between two commits of a Realtime session.

S samples at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples

from .ids import new_id


@dataclass(kw_only=True)
class UserTurn:
    """Speech of the user up to the next commit.

    Attributes:
        max_seconds: longer turns are refused at the commit; what is beyond is not kept.
        item_id: of the message that it becomes.
        pieces: of (S,) samples.
        num_fed: pieces that the engine's conversation has received.
        num_samples: of speech, also what is not kept.
    """

    max_seconds: float
    item_id: str = field(default_factory=lambda: new_id("item"))
    pieces: list[Samples] = field(default_factory=list)
    num_fed: int = 0
    num_samples: int = 0

    @property
    def seconds(self) -> float:
        """Seconds of speech."""
        return self.num_samples / SAMPLE_RATE

    def add(self, samples: Samples) -> None:
        """Take more of it."""
        self.num_samples += len(samples)
        if self.seconds <= self.max_seconds:
            self.pieces.append(samples)

    def samples(self) -> Samples:
        """(S,) all of it."""
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, dtype=np.float32)
