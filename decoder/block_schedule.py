"""Block schedule: the mel frames of each token, and the blocks of tokens that are decoded together.

A token lasts `frames_per_token` frames, a fraction: 8 at 12.5 Hz and 100 frames a second, 6.890625 at 22.05 kHz with
a hop of 256. Frame f comes from the token that holds its middle, and T tokens make all frames whose middle lies in
them; everything is integer arithmetic on that fraction, so nothing drifts and no frame depends on a later token::

    tokens | 0           | 1           | 2          ...      frames_per_token = 3.5
    frames | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 ...               frame 3, its middle at 3.5, comes from token 1

Tokens are made in blocks. With a look-ahead of L tokens the blocks begin L tokens earlier, so that every block, also
the first, is made as soon as `block_tokens` more tokens are there::

    block of token i = (i + L) // block_tokens

Shapes: T tokens, F mel frames, P patches of `patch_frames` frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from corpus.audio.mel_config import LogMelConfig
from runtime.errors import check_option


@dataclass(frozen=True)
class BlockSchedule:
    """Tokens, frames, patches and blocks.

    Attributes:
        frames_per_token: mel frames in a token's time, at least 1.
        patch_frames: frames per position of the flow's estimator.
        block_tokens: tokens per block; 0 is one block over everything.
        lookahead_tokens: tokens after a block that it waits for.
    """

    frames_per_token: Fraction
    patch_frames: int
    block_tokens: int
    lookahead_tokens: int

    @property
    def slots(self) -> int:
        """Mel frames that the encoder makes of each token, of which frames are taken: the ratio, rounded up."""
        return -(-self.frames_per_token.numerator // self.frames_per_token.denominator)

    @property
    def patches_per_block(self) -> int:
        """Patches that every whole block has at least."""
        return int(self.block_tokens * self.frames_per_token / self.patch_frames)

    def num_frames(self, tokens: int) -> int:
        """Frames whose middle lies in ``tokens`` tokens; never more than half a frame from their exact length."""
        ratio = self.frames_per_token
        return -((ratio.denominator - 2 * tokens * ratio.numerator) // (2 * ratio.denominator))

    def num_patches(self, frames: int) -> int:
        """Patches that hold ``frames`` frames, the last one perhaps in part."""
        return -(-frames // self.patch_frames)

    def tokens_of_frames(self, frames_F: Tensor) -> Tensor:
        """The token (F,) that each frame comes from."""
        ratio = self.frames_per_token
        return (2 * frames_F + 1) * ratio.denominator // (2 * ratio.numerator)

    def slots_of_frames(self, frames_F: Tensor) -> Tensor:
        """The slot (F,) of each frame, counted over all tokens' slots."""
        ratio = self.frames_per_token
        return (2 * frames_F + 1) * ratio.denominator * self.slots // (2 * ratio.numerator)

    def blocks_of_tokens(self, tokens_T: Tensor) -> Tensor:
        """The block (T,) of each token."""
        if not self.block_tokens:
            return torch.zeros_like(tokens_T)
        return (tokens_T + self.lookahead_tokens) // self.block_tokens

    def blocks_of_patches(self, patches_P: Tensor) -> Tensor:
        """The block (P,) of each patch: that of its last frame."""
        return self.blocks_of_tokens(self.tokens_of_frames((patches_P + 1) * self.patch_frames - 1))

    def end_of_block(self, block: int) -> int:
        """The token that block ``block`` ends before."""
        return (block + 1) * self.block_tokens - self.lookahead_tokens

    def real_frames(self, is_real_BT: Tensor) -> Tensor:
        """(B, F) from (B, T), each row real up to some token: the frames of real tokens."""
        frames_F = torch.arange(self.num_frames(is_real_BT.shape[1]), device=is_real_BT.device)
        return is_real_BT[:, self.tokens_of_frames(frames_F)]


def frames_per_token(token_rate: float, mel: LogMelConfig) -> Fraction:
    """Mel frames in a token's time, exactly."""
    ratio = Fraction(mel.sample_rate, mel.hop) / Fraction(token_rate)
    remedy = f"a token must last at least one mel frame ({mel.hop} samples at {mel.sample_rate} Hz)"
    check_option(ratio >= 1, "token_rate", token_rate, remedy)
    return ratio
