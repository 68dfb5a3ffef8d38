"""The one rule of time, for tokenizer and decoder alike.

Audio at 16 kHz is padded on the right with zeros to a multiple of 1280 samples (80 ms). A mel frame is 160 samples
(10 ms), a token is 8 frames, so F = S / 160 frames and T = S / 1280 tokens exactly.
"""

from __future__ import annotations

import numpy as np

from .audio import SAMPLE_RATE, Samples

SAMPLES_PER_FRAME = 160
FRAMES_PER_TOKEN = 8
SAMPLES_PER_TOKEN = SAMPLES_PER_FRAME * FRAMES_PER_TOKEN
TOKEN_RATE = SAMPLE_RATE / SAMPLES_PER_TOKEN  # 12.5 Hz


def num_tokens(num_samples: int) -> int:
    """Tokens (80 ms) that ``num_samples`` fill, the last one perhaps in part: ceil(S / 1280)."""
    return -(-num_samples // SAMPLES_PER_TOKEN)


def pad_to_token(audio: Samples) -> Samples:
    """Pad (S,) audio on the right with zeros to a whole number of tokens."""
    return np.pad(audio, (0, num_tokens(len(audio)) * SAMPLES_PER_TOKEN - len(audio)))
