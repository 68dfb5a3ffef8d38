"""The token encoder: speech tokens and a voice -> the mean of the mel, at any ratio of frames to tokens.

Its prior loss is the squared distance between that mean and the mel, as in Grad-TTS (arXiv 2105.06337) and
Matcha-TTS (arXiv 2309.03199); with one rule of time (`decoder.block_schedule`) no alignment is needed. The length
regulator is a head of as many mel frames a token as its time can hold, of which each frame takes the one at its middle.

A streaming tokenizer knows the end of a token's time only when it makes the next one: the tokens lag behind the
sound. The encoder can therefore look `lookahead` tokens ahead, in one convolution over the embeddings. What follows
is block-causal (`decoder.backbone`): the mean of a block is known `lookahead` tokens after the block's last one.

Shapes: B batch, T tokens, F mel frames, M mel bins, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .backbone import Backbone, BackboneCache
from .block_schedule import Timing
from .config import DecoderConfig
from .speaker import SpeakerEmbedding, Speakers


class TokenEncoder(nn.Module):
    """Embeddings of token and voice, a look ahead, a block-causal backbone at the token rate, a head of mel frames."""

    def __init__(self, config: DecoderConfig, timing: Timing, num_mels: int) -> None:
        super().__init__()
        width, self.lookahead = config.encoder.width, config.lookahead_tokens
        self.timing, self.num_mels = timing, num_mels
        self.token_embedding = nn.Embedding(config.codebook_size, width)
        clip_width = config.speaker.embedding
        self.speaker_embedding = SpeakerEmbedding(len(config.speakers), width, clip_width=clip_width)
        self.neighbours = nn.Conv1d(width, width, 2 * self.lookahead + 1) if self.lookahead else None
        window = config.past_blocks * config.block_tokens if config.is_causal else None
        self.backbone = Backbone(config.encoder, past=config.past_blocks, window=window)
        self.mean_head = nn.Linear(width, timing.slots * num_mels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Embeddings of unit size; the first mean is near zero, the average of a normalised mel."""
        nn.init.normal_(self.token_embedding.weight)
        nn.init.normal_(self.speaker_embedding.weight, std=0.1)
        nn.init.normal_(self.mean_head.weight, std=0.02)
        nn.init.zeros_(self.mean_head.bias)

    def forward(self, tokens_BT: Tensor, speakers: Speakers, is_real_BT: Tensor) -> Tensor:
        """The mean of the normalised mel (B, F, M)."""
        around = (self.lookahead, self.lookahead)
        window_BT, is_token_BT = (nn.functional.pad(part, around) for part in (tokens_BT, is_real_BT))
        return self.block(window_BT, is_token_BT, speakers, first=0, cache=None)

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
            first: number of the first token whose frames are made.
            cache: of the stream, taken on; None where all tokens are in the window.
        """
        x_BTD = self.token_embedding(window_BT) + self.speaker_embedding.voices(speakers)[:, None]
        end = first + window_BT.shape[1] - 2 * self.lookahead
        is_real_BT = is_token_BT
        if self.neighbours is not None:
            inner = slice(self.lookahead, -self.lookahead)
            seen_BDT = (x_BTD * is_token_BT[..., None]).transpose(1, 2)
            x_BTD = x_BTD[:, inner] + self.neighbours(seen_BDT).transpose(1, 2)
            is_real_BT = is_token_BT[:, inner]
        blocks_T = self.timing.blocks_of_tokens(torch.arange(first, end))
        x_BTD = self.backbone(x_BTD, is_real_BT, blocks_T, cache=cache)
        slots_BSM = self.mean_head(x_BTD).unflatten(-1, (self.timing.slots, self.num_mels)).flatten(1, 2)
        frames_F = torch.arange(self.timing.num_frames(first), self.timing.num_frames(end))
        taken_F = self.timing.slots_of_frames(frames_F) - first * self.timing.slots
        if len(taken_F) == slots_BSM.shape[1]:  # a whole number of frames a token: each slot is a frame
            return slots_BSM
        return slots_BSM[:, taken_F.to(slots_BSM.device)]


def prior_loss(mean_BFM: Tensor, mel_BFM: Tensor, is_real_BF: Tensor) -> Tensor:
    """Mean squared distance between mean and mel over the real frames."""
    return masked_mean((mean_BFM.float() - mel_BFM).square().mean(-1), is_real_BF)


def masked_mean(value_BF: Tensor, is_real_BF: Tensor) -> Tensor:
    """The mean of ``value_BF`` where ``is_real_BF``."""
    weight_BF = is_real_BF.to(value_BF.dtype)
    return (value_BF * weight_BF).sum() / weight_BF.sum().clamp(min=1.0)
