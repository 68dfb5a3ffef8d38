"""Contracts of a backbone: the encoders before and after the quantiser, and the mapping of weights onto both.

B batch, M mel bands, F mel frames, T tokens, D width, K codes.
"""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel_config import LogMelConfig

from .config import TokenizerModelConfig
from .table import BACKBONES


class PreVQEncoder(nn.Module, ABC):
    """Mel frames to one vector a token; streams exactly.

    Attributes:
        num_mels: M.
        stride: frames of a token.
    """

    def __init__(self, time: FrameRate, num_mels: int) -> None:
        super().__init__()
        self.num_mels, self.stride = num_mels, time.frames_per_token

    @staticmethod
    def mel_config(config: TokenizerModelConfig) -> LogMelConfig:
        """The mel front end."""
        return LogMelConfig(num_mels=config.num_mels)

    @abstractmethod
    def initialise(self) -> None:
        """Set the initial weights that differ from the libraries' own."""

    @abstractmethod
    def forward(self, mel_BMF: Tensor, lengths_B: Tensor, padding_B: Tensor | None = None) -> Tensor:
        """(B, M, F) frames to (B, T, D).

        Args:
            mel_BMF: the frames.
            lengths_B: tokens of each row; its first ``stride * lengths_B`` frames count.
            padding_B: how many of those frames at the end lie after the audio, below ``stride``; None: unknown.
        """

    @abstractmethod
    def empty_cache(self) -> Any:
        """The state of a stream before its first chunk."""

    @abstractmethod
    def next_chunk(self, cache: Any) -> int:
        """Tokens of the chunk that follows."""

    @abstractmethod
    def shape(self, cache: Any) -> Hashable:
        """The shape of a cache: chunks of equal size go through one `step` where it is equal."""

    @abstractmethod
    def step(self, mel_NMF: Tensor, caches: Sequence[Any], padding: Sequence[int]) -> tuple[Tensor, list[Any]]:
        """One chunk of each of N streams, not in step with each other: their (N, T, D) and caches.

        Each row has the bits that it has alone, if T is `runtime.streaming.MIN_POSITIONS` or more.

        Args:
            mel_NMF: ``stride`` T frames, T of `next_chunk`, fewer only at the end.
            caches: the streams', of equal `shape`; they stay as they are.
            padding: how many of each row's last frames lie after the end of its audio.
        """


class PostVQEncoder(nn.Module, ABC):
    """(Quantised) token vectors to vectors for the ASR heads; sees the whole utterance."""

    @abstractmethod
    def initialise(self) -> None:
        """Set the initial weights that differ from the libraries' own."""

    @abstractmethod
    def forward(self, x_BTD: Tensor, lengths_B: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D); ``lengths_B`` tokens of each row count."""


class LoadedWeights(NamedTuple):
    """The result of a `WarmStart`.

    Attributes:
        summary: the parts that were loaded, in words.
        codebook: (K, D) the checkpoint's codebook; None where it has none.
    """

    summary: str
    codebook: Tensor | None = None


class WarmStart(Protocol):
    """Loads published weights from ``source`` (a file, a folder or a hub's name) into encoders and text decoder.

    Raises a `UserError` where there is no such checkpoint, or where its sizes differ from ours (it names the option).
    """

    def __call__(
        self, front: PreVQEncoder, back: PostVQEncoder, decoder: nn.Module | None, source: str
    ) -> LoadedWeights:
        """Load in place; weights that the checkpoint lacks stay as they are."""
        ...


def make_pre_vq(config: TokenizerModelConfig) -> PreVQEncoder:
    """The encoder before the quantiser, of ``config.backbone``."""
    encoder = pkgutil.resolve_name(BACKBONES[config.backbone].pre_vq)(config)
    assert isinstance(encoder, PreVQEncoder)
    return encoder


def make_post_vq(config: TokenizerModelConfig) -> PostVQEncoder:
    """The encoder after the quantiser, of ``config.backbone``."""
    encoder = pkgutil.resolve_name(BACKBONES[config.backbone].post_vq)(config)
    assert isinstance(encoder, PostVQEncoder)
    return encoder


def warm_start_of(backbone: str) -> WarmStart:
    """The mapping of published weights onto a backbone."""
    warm_start: WarmStart = pkgutil.resolve_name(BACKBONES[backbone].warm_start)
    return warm_start
