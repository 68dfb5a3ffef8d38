"""Streaming encode: audio in pieces of any size to the same tokens as offline.

A chunk of ``model.chunk`` tokens is known 7.5 ms after its last sample (Whisper: 2.5 ms); `finish` gives the rest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from corpus.audio.files import Samples

if TYPE_CHECKING:
    from .model import Codes, SpeechTokenizer

PIECE = 160_000  # samples (10 s)


class TokenStream:
    """One stream of audio through a tokenizer; open it with `SpeechTokenizer.streaming`."""

    def __init__(self, tokenizer: SpeechTokenizer) -> None:
        self.tokenizer = tokenizer
        self._start()

    def _start(self) -> None:
        self.mel = self.tokenizer.log_mel.streaming()
        self.cache = self.tokenizer.front.empty_cache()
        self.held = torch.zeros(self.tokenizer.front.num_mels, 0, device=self.tokenizer.device)  # of a chunk begun

    def feed(self, samples: Samples) -> Codes:
        """Take (S,) samples at 16 kHz; returns the tokens of the chunks that they complete.

        However many samples come at once, memory holds the frames of ``PIECE`` of them.
        """
        from .model import check_audio

        check_audio(samples, 0)
        pieces = [samples[start : start + PIECE] for start in range(0, len(samples), PIECE)]
        return np.concatenate([np.zeros(0, dtype=np.uint16), *(self._take(self.mel.feed(piece)) for piece in pieces)])

    def finish(self) -> Codes:
        """End of the audio (padded to whole tokens); returns the remaining tokens and starts afresh."""
        tokens = self._take(self.mel.finish(self.tokenizer.time.samples_per_token))
        rest = self._encode(self.held)
        self._start()
        return np.concatenate([tokens, rest])

    def _take(self, frames_MF: torch.Tensor) -> Codes:
        self.held = torch.cat([self.held, frames_MF.to(self.held)], dim=1)
        tokens = [np.zeros(0, dtype=np.uint16)]
        while self.held.shape[1] >= (size := self._chunk_frames()):
            tokens.append(self._encode(self.held[:, :size]))
            self.held = self.held[:, size:]
        return np.concatenate(tokens)

    def _chunk_frames(self) -> int:
        return self.tokenizer.front.next_chunk(self.cache) * self.tokenizer.time.frames_per_token

    def _encode(self, frames_MF: torch.Tensor) -> Codes:
        if not frames_MF.shape[1]:
            return np.zeros(0, dtype=np.uint16)
        with self.tokenizer.inference():
            hidden_1TD, self.cache = self.tokenizer.front.step(frames_MF[None], self.cache)
            return self.tokenizer.quantiser.codes(hidden_1TD)[0].cpu().numpy().astype(np.uint16)


@contextlib.contextmanager
def open_stream(tokenizer: SpeechTokenizer) -> Iterator[TokenStream]:
    """The context manager behind `SpeechTokenizer.streaming`."""
    tokenizer.require_codebook()
    yield TokenStream(tokenizer)
