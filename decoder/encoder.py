"""The token encoder: speech tokens and a voice -> the mean of the mel, at any ratio of frames to tokens.

It is trained with a prior loss (`decoder.losses`); as the frames of a token are known (`decoder.block_schedule`), no
alignment is needed. The length regulator is a head of as many mel frames a token as its time can hold, of which each
frame takes the one at its middle.

A streaming tokenizer knows the end of a token's time only when it makes the next one: the tokens lag behind the
sound. The encoder can therefore look `lookahead` tokens ahead, in one convolution over the embeddings. What follows
is block-causal (`decoder.backbone`): the mean of a block is known `lookahead` tokens after the block's last one.

Shapes: B batch, T tokens, F mel frames, M mel bins, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from runtime.errors import UserError
from runtime.streaming import per_stream

from .backbone import BackboneCache, BlockCausalTransformer
from .block_schedule import BlockSchedule
from .config import DecoderConfig
from .speaker import SpeakerEmbedding, Speakers

Tokens = npt.NDArray[np.integer[Any]]


class TokenEncoder(nn.Module):
    """Embeddings of token and voice, a look ahead, a block-causal backbone at the token rate, a head of mel frames."""

    def __init__(self, config: DecoderConfig, schedule: BlockSchedule, num_mels: int) -> None:
        super().__init__()
        width, self.lookahead = config.encoder.width, config.lookahead_tokens
        self.schedule, self.num_mels = schedule, num_mels
        self.token_embedding = nn.Embedding(config.codebook_size, width)
        clip_width = config.speaker.embedding
        self.speaker_embedding = SpeakerEmbedding(len(config.speakers), width, clip_width=clip_width)
        self.neighbours = nn.Conv1d(width, width, 2 * self.lookahead + 1) if self.lookahead else None
        window = config.past_blocks * config.block_tokens if config.is_causal else None
        self.backbone = BlockCausalTransformer(config.encoder, past=config.past_blocks, window=window)
        self.mean_head = nn.Linear(width, schedule.slots * num_mels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Embeddings of unit size; the first mean is near zero, the average of a normalised mel."""
        nn.init.normal_(self.token_embedding.weight)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        nn.init.normal_(self.mean_head.weight, std=0.02)
        nn.init.zeros_(self.mean_head.bias)

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return self.token_embedding.weight.device

    def check_tokens(self, tokens: Tokens, subject: str) -> None:
        """Raise a `UserError` about ``subject`` unless (T,) ``tokens`` are of the codebook."""
        codebook_size = self.token_embedding.num_embeddings
        remedy = f"give a one-dimensional array of tokens from 0 to {codebook_size - 1}"
        if tokens.ndim != 1 or not np.issubdtype(tokens.dtype, np.integer):
            raise UserError(subject, found=f"an array of shape {tokens.shape}, type {tokens.dtype}", remedy=remedy)
        if not len(tokens):
            raise UserError(subject, found="no tokens", remedy=remedy)
        if tokens.min() < 0 or tokens.max() >= codebook_size:
            found = f"tokens from {tokens.min()} to {tokens.max()} for a codebook of {codebook_size}"
            raise UserError(subject, found=found, remedy="use the tokenizer that the decoder was trained with")

    def forward(self, tokens_BT: Tensor, speakers: Speakers, is_real_BT: Tensor) -> Tensor:
        """The mean of the normalised mel (B, F, M)."""
        around = (self.lookahead, self.lookahead)
        window_BT, is_token_BT = (nn.functional.pad(part, around) for part in (tokens_BT, is_real_BT))
        return self.block(window_BT, is_token_BT, speakers, first=0, cache=None)

    def taken_slots(self, first: int, end: int) -> Tensor:
        """The slot (F,) of each frame of the tokens ``first`` to ``end``, counted from the first token's."""
        frames_F = torch.arange(self.schedule.num_frames(first), self.schedule.num_frames(end))
        return self.schedule.slots_of_frames(frames_F) - first * self.schedule.slots

    def block(
        self,
        window_BT: Tensor,
        is_token_BT: Tensor,
        speakers: Speakers,
        *,
        first: int,
        cache: BackboneCache | None,
    ) -> Tensor:
        """The mean (B, F, M) of the tokens from ``first`` on, but for `lookahead` ones around them.

        Args:
            window_BT: the tokens of whole blocks with ``lookahead`` ones before and after.
            is_token_BT: False before the first token, after the last and on padding.
            speakers: the voices.
            first: number of the first token whose frames are made (of a batch of streams: that of the first stream).
            cache: of the stream, taken on; None where all tokens are in the window.
        """
        streams = 1 if cache is None else len(cache.positions)
        x_BTD = self.token_embedding(window_BT) + self.speaker_embedding.voices(speakers, streams)[:, None]
        end = first + window_BT.shape[1] - 2 * self.lookahead
        is_real_BT = is_token_BT
        if self.neighbours is not None:
            inner = slice(self.lookahead, -self.lookahead)
            seen_BDT = (x_BTD * is_token_BT[..., None]).transpose(1, 2)
            x_BTD = x_BTD[:, inner] + per_stream(self.neighbours, seen_BDT, streams).transpose(1, 2)
            is_real_BT = is_token_BT[:, inner]
        blocks_T = self.schedule.blocks_of_tokens(torch.arange(first, end))
        x_BTD = self.backbone(x_BTD, is_real_BT, blocks_T, cache=cache)
        slots_BSM = self.mean_head(x_BTD).unflatten(-1, (self.schedule.slots, self.num_mels)).flatten(1, 2)
        taken_F = self.taken_slots(first, end)
        if len(taken_F) == slots_BSM.shape[1]:  # a whole number of frames a token: each slot is a frame
            return slots_BSM
        return slots_BSM[:, taken_F.to(slots_BSM.device)]
