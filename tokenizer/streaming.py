"""Streaming encode: audio in pieces of any size to the same tokens, or vectors, as offline.

A chunk of ``model.chunk`` tokens is known 7.5 ms after its last sample (Whisper: 2.5 ms); `finish` gives the rest.
A front end that clamps (``LogMelConfig.dynamic_range``) is approximated: each chunk is clamped below the largest value
of its piece up to the chunk's end. However the audio is cut, its tokens are the same, but not always the offline ones.

The streams of several talkers, not in step with each other, run as rows of one batch (`runtime.streaming.feed_rows`),
with the tokens that each of them has alone; on a GPU, whose products round by the batch's size, up to near ties.

N streams, S samples, M mel bands, F mel frames, T tokens, D width.
"""

from __future__ import annotations

import contextlib
import copy
from abc import abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from corpus.audio.files import Samples
from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel import LogMel, LogMelStream, largest
from runtime.errors import UserError
from runtime.streaming import MIN_POSITIONS, Array, BlockStream, feed_rows, finish_rows

from .backbones.base import PreVQEncoder
from .quantisers.base import Quantiser

Codes = npt.NDArray[np.uint16]
PIECE = 16_000  # samples (1 s) that the mel stream takes at a time


class FrameChunk(NamedTuple):
    """Frames that are encoded together, and how many of the last ones lie after the end of the audio."""

    frames: int
    padding: int


class FrontStream(BlockStream[FrameChunk]):
    """One stream of audio through the front half.

    The frames of a chunk are computed when it is complete, so the sizes of the pieces of audio change no bit.

    Args:
        log_mel: the mel front end.
        front: the encoder before the quantiser.
        time: frame-rate arithmetic of the tokens.
        reader: the network that reads the front half's vectors, if any.
    """

    input_type: ClassVar[type[np.generic]] = np.float32

    def __init__(self, log_mel: LogMel, front: PreVQEncoder, time: FrameRate, *reader: nn.Module) -> None:
        self.log_mel, self.front, self.time, self.networks = log_mel, front, time, (front, *reader)
        self.reset()

    @abstractmethod
    def outputs(self, hidden_NTD: torch.Tensor) -> list[Array]:
        """The output for each row of (N, T, D) of the front half."""

    def reset(self) -> None:
        """Begin another audio."""
        self.waiting = np.zeros(0, dtype=np.float32)  # samples that the mel stream has not taken yet
        self.mel = self.log_mel.streaming()
        self.cache = self.front.empty_cache()
        self.largest = torch.full((1, 1, 1), -torch.inf, device=self.log_mel.hann.device)  # of the piece so far
        self.num_encoded = 0  # frames
        self.padding = 0  # frames after the end of the audio
        self.is_over = self.is_ended = False  # no samples follow; the mel stream knows it

    def fork(self) -> Self:
        """A stream at the same place that goes on by itself."""
        twin = copy.copy(self)
        twin.mel = self.mel.fork()
        return twin

    def feed(self, samples: Samples) -> Array:
        """Take (S,) samples at 16 kHz; returns the output of the chunks that they complete.

        However many samples come at once, memory holds the frames of one chunk.
        """
        return feed_rows([self], [samples])[0]

    def finish(self) -> Array:
        """End of the audio (padded to whole tokens); returns the remaining output and starts afresh."""
        return finish_rows([self])[0]

    def encode(self, samples: Samples) -> Array:
        """A whole audio (S,) chunk by chunk, in bounded memory."""
        return np.concatenate([self.feed(samples), self.finish()])

    def check(self, piece: Samples, *, is_last: bool) -> None:
        """Raise a `UserError` unless ``piece`` is audio (`check_audio`)."""
        check_audio(piece, 0)

    def append(self, piece: Samples, *, is_last: bool) -> None:
        """Take (S,) samples."""
        self.waiting = np.concatenate([self.waiting, piece]) if len(self.waiting) else piece
        self.is_over = is_last

    def next_block(self) -> FrameChunk | None:
        """The next chunk of which all samples are there, or the rest of an audio that is over."""
        frames = self.front.next_chunk(self.cache) * self.time.frames_per_token
        while len(self.waiting) and self.mel.num_frames < frames:
            self.mel.append(self.waiting[:PIECE])
            self.waiting = self.waiting[PIECE:]
        if not len(self.waiting):
            self.waiting = np.zeros(0, dtype=np.float32)  # not a view of what was fed
            if self.is_over and not self.is_ended:
                self.padding = self.time.num_padding_frames(self.mel.num_fed)
                self.mel.end(self.time.samples_per_token)
                self.is_ended = True
        known = self.mel.num_frames
        if known and self.is_ended and known <= frames:
            return FrameChunk(known, self.padding)
        if known >= frames:
            return FrameChunk(frames, 0)
        if self.is_ended:
            self.reset()
        return None

    def shape(self, piece: FrameChunk) -> Hashable | None:
        """The size of the chunk and the shape of the encoder's cache; None where it has few tokens."""
        if piece.frames < MIN_POSITIONS * self.time.frames_per_token or self.mel.shape(piece.frames) is None:
            return None
        return piece.frames, self.front.shape(self.cache)

    @classmethod
    def step(cls, streams: Sequence[Self], pieces: Sequence[FrameChunk]) -> list[Array]:
        """The output for a chunk of each stream."""
        front = streams[0].front
        mel_NMF = torch.stack(LogMelStream.step([stream.mel for stream in streams], [each.frames for each in pieces]))
        with inference(*streams[0].networks):
            mel_NMF = torch.cat(
                [stream._clamped(mel_1MF) for stream, mel_1MF in zip(streams, mel_NMF.split(1), strict=True)]
            )
            caches, padding = [stream.cache for stream in streams], [each.padding for each in pieces]
            hidden_NTD, caches = front.step(mel_NMF, caches, padding)
            outputs = streams[0].outputs(hidden_NTD)
        for stream, cache in zip(streams, caches, strict=True):
            stream.cache = cache
        return outputs

    def _clamped(self, mel_1MF: torch.Tensor) -> torch.Tensor:
        config = self.log_mel.config
        if not config.dynamic_range:
            return mel_1MF
        begins = self.num_encoded % (config.piece // config.hop) == 0
        self.num_encoded += mel_1MF.shape[2]
        self.largest = largest(mel_1MF) if begins else self.largest.maximum(largest(mel_1MF))
        return self.log_mel.clamp(mel_1MF, self.largest)


class TokenStream(FrontStream):
    """One stream of audio to tokens (T,) uint16; open it with `tokenizer.model.SpeechTokenizer.open_stream`.

    Args:
        log_mel: the mel front end.
        front: the encoder before the quantiser.
        quantiser: has a trained codebook.
        time: frame-rate arithmetic of the tokens.
    """

    output_type: ClassVar[type[np.generic]] = np.uint16

    def __init__(self, log_mel: LogMel, front: PreVQEncoder, quantiser: Quantiser, time: FrameRate) -> None:
        self.quantiser = quantiser
        super().__init__(log_mel, front, time, quantiser)

    def outputs(self, hidden_NTD: torch.Tensor) -> list[Array]:
        """The tokens (T,) of each row."""
        return list(self.quantiser.codes(hidden_NTD).cpu().numpy().astype(np.uint16))


class VectorStream(FrontStream):
    """One stream of audio to the front half's vectors (T, D) float32; a vector never changes once it is given.

    Args:
        log_mel: the mel front end.
        front: the encoder before the quantiser.
        time: frame-rate arithmetic of the tokens.
        width: D.
    """

    output_type: ClassVar[type[np.generic]] = np.float32

    def __init__(self, log_mel: LogMel, front: PreVQEncoder, time: FrameRate, width: int) -> None:
        self.width = width
        super().__init__(log_mel, front, time)

    def no_output(self) -> Array:
        """(0, D)."""
        return np.zeros((0, self.width), dtype=self.output_type)

    def outputs(self, hidden_NTD: torch.Tensor) -> list[Array]:
        """The vectors (T, D) of each row."""
        return list(hidden_NTD.float().cpu().numpy())


@contextlib.contextmanager
def inference(*modules: nn.Module) -> Iterator[None]:
    """Modules in evaluation mode and without gradients; their mode before comes back afterwards."""
    were_training = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module, was_training in zip(modules, were_training, strict=True):
            module.train(was_training)


def check_audio(audio: Samples, at: int) -> Samples:
    """Raise a `UserError` unless ``audio`` is (S,), of floating point and finite."""
    if audio.ndim != 1:
        remedy = "give mono audio of shape (samples,): average the channels"
        raise UserError(f"audio {at}", found=f"shape {audio.shape}", remedy=remedy)
    if not np.issubdtype(audio.dtype, np.floating):
        remedy = "give floating point of full scale 1: divide 16-bit samples by 32768"
        raise UserError(f"audio {at}", found=f"samples of type {audio.dtype}", remedy=remedy)
    if not np.isfinite(audio).all():
        raise UserError(f"audio {at}", found="samples that are NaN or infinite", remedy="mend or drop the recording")
    return audio
