"""The contract of the two halves of an encoder that is cut by the quantiser, and which backbone makes them.

B batch, M mel bands, F mel frames, T tokens, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel_config import LogMelConfig
from tokenizer.config import TokenizerModelConfig

LN10 = 2.302585092994046


class PreVQEncoder(nn.Module, ABC):
    """Mel frames to one vector a token; streams exactly.

    Attributes:
        num_mels: M.
        stride: frames of a token.
    """

    def __init__(self, time: FrameRate, num_mels: int) -> None:
        super().__init__()
        self.num_mels, self.stride = num_mels, time.frames_per_token

    @abstractmethod
    def forward(self, mel_BMF: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, M, F) frames, of which each row's first ``stride * lengths_B`` count, to (B, T, D)."""

    @abstractmethod
    def empty_cache(self) -> Any:
        """What a stream carries from chunk to chunk, before the first one."""

    @abstractmethod
    def next_chunk(self, cache: Any) -> int:
        """Tokens of the chunk that follows."""

    @abstractmethod
    def step(self, mel_1MF: Tensor, cache: Any) -> tuple[Tensor, Any]:
        """One chunk (1, M, stride * tokens) of `next_chunk` tokens, fewer only at the end: its (1, T, D) and cache."""


class PostVQEncoder(nn.Module, ABC):
    """(Quantised) token vectors to vectors for the ASR heads; sees the whole utterance."""

    @abstractmethod
    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); ``lengths_B`` tokens of each row count."""


def make_halves(config: TokenizerModelConfig) -> tuple[PreVQEncoder, PostVQEncoder]:
    """The two halves of ``config.backbone``."""
    if config.backbone == "whisper":
        from .whisper import WhisperBack, WhisperFront

        return WhisperFront(config), WhisperBack(config)
    from .fastconformer import FastConformerBack, FastConformerFront

    return FastConformerFront(config), FastConformerBack(config)


def mel_config(config: TokenizerModelConfig) -> LogMelConfig:
    """The front end of ``config.backbone``.

    Whisper's: (log10 of the power mel + 4) / 4, floor 1e-10, frames centred on their first sample. Its clamp at 8
    below the utterance's largest value is left out: it needs the whole utterance, and so does not stream.
    """
    if config.backbone != "whisper":
        return LogMelConfig(num_mels=config.num_mels)
    return LogMelConfig(
        n_fft=400, num_mels=config.num_mels, floor=1e-10, mean=-4 * LN10, std=4 * LN10, power=2.0, before=200
    )
