"""Sounds of a known pitch."""

from __future__ import annotations

import numpy as np

from corpus.audio.files import Samples

RATE = 16000


def buzz(hertz: np.ndarray, loudness: float = 0.1) -> Samples:
    """A voice-like sound of a given pitch at each sample."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    sound = sum(np.sin(n * phase) / n for n in range(1, 12))
    return (loudness * np.asarray(sound)).astype(np.float32)
