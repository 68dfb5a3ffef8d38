"""Frame-rate arithmetic: samples, mel frames and tokens at 6.25 to 50 Hz, for tokenizer and decoder alike.

Audio at 16 kHz is padded on the right with zeros to whole tokens. A mel frame is 160 samples (10 ms); a token is 2, 4,
8 or 16 frames at 50, 25, 12.5 or 6.25 tokens a second. So F = S / 160 frames and T = F / frames-a-token tokens exactly.
The module's constants and functions are those of 12.5 Hz (8 frames, 1280 samples, 80 ms), the rate of the whole chain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.config import Options, option

from .files import SAMPLE_RATE, Samples

SAMPLES_PER_FRAME = 160
FRAME_RATES = (50.0, 25.0, 12.5, 6.25)


@dataclass(frozen=True)
class FrameRate(Options):
    """Numbers of samples and frames at one of the four frame rates.

    Attributes:
        frame_rate: tokens a second.
    """

    frame_rate: float = option(12.5, one_of=FRAME_RATES)

    @property
    def frames_per_token(self) -> int:
        """Mel frames of a token: 2, 4, 8 or 16."""
        return self.samples_per_token // SAMPLES_PER_FRAME

    @property
    def samples_per_token(self) -> int:
        """Samples of a token: 320, 640, 1280 or 2560."""
        return int(SAMPLE_RATE / self.frame_rate)

    def num_tokens(self, num_samples: int) -> int:
        """Tokens that ``num_samples`` fill, the last one perhaps in part."""
        return -(-num_samples // self.samples_per_token)

    def num_padding_frames(self, num_samples: int) -> int:
        """Mel frames of the last token that begin after the last sample."""
        return self.num_tokens(num_samples) * self.frames_per_token - -(-num_samples // SAMPLES_PER_FRAME)

    def pad(self, audio: Samples) -> Samples:
        """Pad (S,) audio on the right with zeros to a whole number of tokens."""
        return np.pad(audio, (0, self.num_tokens(len(audio)) * self.samples_per_token - len(audio)))


DEFAULT_FRAME_RATE = FrameRate()
FRAMES_PER_TOKEN = DEFAULT_FRAME_RATE.frames_per_token
SAMPLES_PER_TOKEN = DEFAULT_FRAME_RATE.samples_per_token


def num_tokens(num_samples: int) -> int:
    """Tokens of 80 ms that ``num_samples`` fill, the last one perhaps in part: ceil(S / 1280)."""
    return DEFAULT_FRAME_RATE.num_tokens(num_samples)


def pad_to_token(audio: Samples) -> Samples:
    """Pad (S,) audio on the right with zeros to a whole number of tokens of 80 ms."""
    return DEFAULT_FRAME_RATE.pad(audio)
