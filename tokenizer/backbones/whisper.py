"""Whisper backbone: its encoder, causal by blocks, pooled and cut in the middle (arXiv 2411.17607, section 2.1).

Front half: two causal convolutions (padding on the left only; the second halves 100 Hz to 50 Hz), fixed sinusoid
positions, transformer layers with block-causal attention (all of the own block of ``chunk`` tokens and of the blocks
before it), average pooling by 1, 2, 4 or 8. Back half: the positions again, layers that see everything, layer norm.

Mel input of any length: audio is encoded in windows of ``positions`` (1500 = 30 s; at 6.25 Hz 1496, for a token is 8
positions), each by itself: positions, convolutions and attention start afresh, as the released tokenizer does by
cutting audio into pieces of 30 s. So a stream's state and cost a chunk are bounded. The mel front end runs through,
unless ``released_rules`` are set, by which codes equal those of the released tokenizer, waveform to codes: the mel
starts afresh too (`LogMelConfig.piece`, ``dynamic_range``), and attention leaves out padding within the last token. At
6.25 Hz a window ends 80 ms before the released 30 s, for its last token would be half a token long.

B batch, W windows, M mel bands, F mel frames, P positions at 50 Hz, T tokens, D width, C cached positions.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from corpus.audio.mel_config import LogMelConfig
from runtime.streaming import per_stream

from .base import PostVQEncoder, PreVQEncoder
from .config import TokenizerModelConfig
from .whisper_layers import EncoderLayer, KeyValue, sinusoids

LN10 = 2.302585092994046


def whisper_mel_config(num_mels: int, piece: int) -> LogMelConfig:
    """Whisper's mel: (log10 of the power mel + 4) / 4, floor 1e-10, frames centred on their first sample.

    Args:
        num_mels: bands.
        piece: samples of a window that is by itself, with mirrored ends and the clamp at 8 (log10) below its largest
            value; 0: the whole audio, without that clamp.
    """
    return LogMelConfig(
        n_fft=400,
        num_mels=num_mels,
        floor=1e-10,
        mean=-4 * LN10,
        std=4 * LN10,
        power=2.0,
        before=200,
        piece=piece,
        dynamic_range=8 * LN10 if piece else 0.0,
    )


class WhisperCache(NamedTuple):
    """The state of a stream between chunks.

    Attributes:
        frames: (1, M, 2) the last mel frames.
        convolved: (1, D, 2) the last outputs of the first convolution.
        keys: of each layer, (1, H, C, d) keys and values of the window so far.
        tokens: of the window so far.
    """

    frames: Tensor
    convolved: Tensor
    keys: list[KeyValue]
    tokens: int


class WhisperFront(PreVQEncoder):
    """Mel frames to one vector a token.

    Args:
        config: the sizes; ``chunk`` tokens are a block.
        is_causal: False makes convolutions and attention as Whisper's own are (for comparison; it does not stream).
    """

    def __init__(self, config: TokenizerModelConfig, *, is_causal: bool = True) -> None:
        super().__init__(config.time, config.num_mels)
        width = config.width
        self.is_causal, self.chunk, self.heads = is_causal, config.chunk, config.heads
        self.masks_padding = config.released_rules
        self.pooling = self.stride // 2  # positions of a token
        self.window = config.positions // self.pooling  # tokens
        self.conv1 = nn.Conv1d(config.num_mels, width, kernel_size=3)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(config.positions, width), persistent=False)
        self.layers = nn.ModuleList(
            EncoderLayer(width, config.heads, config.feed_forward, config.dropout) for _ in range(config.front_layers)
        )

    @staticmethod
    def mel_config(config: TokenizerModelConfig) -> LogMelConfig:
        """Whisper's mel: (log10 of the power mel + 4) / 4, floor 1e-10, frames centred on their first sample.

        Its clamp at 8 below the utterance's largest value is left out but for ``released_rules``: it needs the whole
        utterance, and so does not stream.
        """
        window = config.positions * 2 // config.time.frames_per_token * config.time.samples_per_token
        return whisper_mel_config(config.num_mels, window if config.released_rules else 0)

    def initialise(self) -> None:
        """As Hugging Face's Whisper."""
        initialise_whisper(self)

    def forward(self, mel_BMF: Tensor, lengths_B: Tensor, padding_B: Tensor | None = None) -> Tensor:
        """(B, M, F) frames, of which each row's first ``stride * lengths_B`` count, to (B, T, D)."""
        is_real_BF = torch.arange(mel_BMF.shape[2], device=mel_BMF.device) < lengths_B[:, None] * self.stride
        mel_BMF = mel_BMF.masked_fill(~is_real_BF[:, None], 0.0)
        num_tokens = mel_BMF.shape[2] // self.stride
        frames_B = lengths_B * self.stride
        if self.masks_padding and padding_B is not None:
            frames_B = frames_B - padding_B
        folds = fold(mel_BMF.transpose(1, 2), frames_B, self.window * self.stride)
        x_BPD = self.convolve(folds.rows.transpose(1, 2))
        x_BPD = x_BPD + self.positions[: x_BPD.shape[1]]
        mask = self.mask(x_BPD.shape[1], (folds.lengths + 1) // 2)  # a position of one real frame is real
        for layer in self.layers:
            x_BPD = layer(x_BPD, mask)
        return folds.unfold(self.pool(x_BPD), num_tokens)

    def convolve(self, mel_BMF: Tensor) -> Tensor:
        """(B, M, F) frames of whole windows to (B, P, D)."""
        sides = (2, 0) if self.is_causal else (1, 1)
        x_BDF = nn.functional.gelu(self.conv1(nn.functional.pad(mel_BMF, sides)))
        return nn.functional.gelu(self.conv2(nn.functional.pad(x_BDF, sides))).transpose(1, 2)

    def mask(self, size: int, lengths_B: Tensor) -> Tensor:
        """(B, 1, P, P): true where a position is real and in the block of the one that looks, or before it."""
        blocks_P = torch.arange(size, device=lengths_B.device) // (self.chunk * self.pooling)
        may_look_PP = (blocks_P[:, None] >= blocks_P) | (not self.is_causal)
        return may_look_PP & is_real(size, lengths_B)

    def pool(self, x_BPD: Tensor) -> Tensor:
        """Means over ``pooling`` positions; what is missing at the right end counts as zeros."""
        x_BPD = nn.functional.pad(x_BPD, (0, 0, 0, -x_BPD.shape[1] % self.pooling))
        return x_BPD.unflatten(1, (-1, self.pooling)).mean(2)

    def empty_cache(self) -> WhisperCache:
        """The cache before the first chunk of a window."""
        zeros = self.conv1.weight.new_zeros
        nothing = zeros(1, self.heads, 0, self.conv1.out_channels // self.heads)
        keys = [KeyValue(nothing, nothing) for _ in self.layers]
        return WhisperCache(zeros(1, self.num_mels, 2), zeros(1, self.conv1.out_channels, 2), keys, 0)

    def next_chunk(self, cache: WhisperCache) -> int:
        """A block, or what is left of the window."""
        return min(self.chunk, self.window - cache.tokens % self.window)

    def shape(self, cache: WhisperCache) -> Hashable:
        """One for all: each row attends to its own keys."""
        return None

    def step(
        self, mel_NMF: Tensor, caches: Sequence[WhisperCache], padding: Sequence[int]
    ) -> tuple[Tensor, list[WhisperCache]]:
        """One chunk (N, M, stride * tokens): its (N, T, D) and the caches."""
        assert self.is_causal and mel_NMF.shape[2] % self.stride == 0
        count, num_tokens = len(caches), mel_NMF.shape[2] // self.stride
        caches = [self.empty_cache() if cache.tokens == self.window else cache for cache in caches]
        assert num_tokens <= min(map(self.next_chunk, caches))
        frames_NMF = torch.cat([torch.cat([cache.frames for cache in caches]), mel_NMF], dim=2)
        # oneDNN's convolutions round by the batch's size.
        made_NDF = nn.functional.gelu(per_stream(self.conv1, frames_NMF, count))
        convolved_NDF = torch.cat([torch.cat([cache.convolved for cache in caches]), made_NDF], dim=2)
        x_NPD = nn.functional.gelu(per_stream(self.conv2, convolved_NDF, count)).transpose(1, 2)
        starts, size = [cache.tokens * self.pooling for cache in caches], x_NPD.shape[1]
        x_NPD = x_NPD + torch.stack([self.positions[start : start + size] for start in starts])
        masks = [
            self.chunk_mask(start + size, past // 2, x_NPD.device) for start, past in zip(starts, padding, strict=True)
        ]
        keys = []
        for at, layer in enumerate(self.layers):
            assert isinstance(layer, EncoderLayer)
            x_NPD, both = layer.step(x_NPD, [cache.keys[at] for cache in caches], masks)
            keys.append(both)
        following = [
            WhisperCache(
                frames_NMF[row : row + 1, :, -2:].clone(),
                convolved_NDF[row : row + 1, :, -2:].clone(),
                [both[row] for both in keys],
                cache.tokens + num_tokens,
            )
            for row, cache in enumerate(caches)
        ]
        return self.pool(x_NPD), following

    def chunk_mask(self, end: int, num_padded: int, device: torch.device) -> Tensor | None:
        """(1, 1, 1, end): the positions of the window that are not padding; None where all are, or may be, seen."""
        if not self.masks_padding or not num_padded:
            return None
        return is_real(end, torch.tensor([end - num_padded], device=device))


class WhisperBack(PostVQEncoder):
    """Token vectors to vectors for the heads: positions again, layers over the whole window, layer norm."""

    def __init__(self, config: TokenizerModelConfig) -> None:
        super().__init__()
        self.window = config.positions // (config.time.frames_per_token // 2)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(self.window, config.width), persistent=False)
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.feed_forward, config.dropout)
            for _ in range(config.back_layers)
        )
        self.layer_norm = nn.LayerNorm(config.width)

    def initialise(self) -> None:
        """As Hugging Face's Whisper."""
        initialise_whisper(self)

    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); ``lengths_B`` tokens of each row count."""
        folds = fold(x_BTD, lengths_B, self.window)
        y_BTD = folds.rows + self.positions[: folds.rows.shape[1]]
        mask = is_real(y_BTD.shape[1], folds.lengths)
        for layer in self.layers:
            y_BTD = layer(y_BTD, mask)
        return folds.unfold(self.layer_norm(y_BTD), x_BTD.shape[1])


def initialise_whisper(encoder: nn.Module) -> None:
    """Convolutions and matrices normal with standard deviation 0.02, biases 0 (as Hugging Face has them)."""
    for module in encoder.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class Folds(NamedTuple):
    """Long sequences cut into windows that are rows of their own.

    Attributes:
        rows: (B W, P, D).
        lengths: (B W,) real positions of each; 0 in windows that are padding.
        windows: W.
    """

    rows: Tensor
    lengths: Tensor
    windows: int

    def unfold(self, rows_BTD: Tensor, length: int) -> Tensor:
        """(B W, T, D) back to (B, length, D)."""
        return rows_BTD.unflatten(0, (-1, self.windows)).flatten(1, 2)[:, :length]


def fold(x_BPD: Tensor, lengths_B: Tensor, window: int) -> Folds:
    """Cut (B, P, D) into windows; shorter sequences stay as they are."""
    size = x_BPD.shape[1]
    if size <= window:
        return Folds(x_BPD, lengths_B, 1)
    count = -(-size // window)
    padded = nn.functional.pad(x_BPD, (0, 0, 0, count * window - size))
    starts_W = torch.arange(count, device=lengths_B.device) * window
    lengths = (lengths_B[:, None] - starts_W).clamp(0, window)
    return Folds(padded.unflatten(1, (count, window)).flatten(0, 1), lengths.flatten(), count)


def is_real(size: int, lengths_B: Tensor) -> Tensor:
    """(B, 1, 1, P): true below the length; the first always, for attention to nothing is not a number."""
    places = torch.arange(size, device=lengths_B.device)
    return (places < lengths_B.clamp_min(1)[:, None])[:, None, None]
