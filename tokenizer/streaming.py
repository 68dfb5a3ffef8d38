"""Streaming encode: audio in pieces of any size to the same tokens as offline.

A chunk of ``model.chunk`` tokens is known 7.5 ms after its last sample (Whisper: 2.5 ms); `finish` gives the rest.
A front end that clamps (``LogMelConfig.dynamic_range``) is approximated: each chunk is clamped below the largest value
of its piece up to the chunk's end. However the audio is cut, its tokens are the same, but not always the offline ones.

S samples, M mel bands, F mel frames, T tokens, D width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from corpus.audio.files import Samples
from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel import LogMel, largest
from runtime.errors import UserError

from .backbones.base import PreVQEncoder
from .quantisers.base import Quantiser

Codes = npt.NDArray[np.uint16]
PIECE = 160_000  # samples (10 s)


class TokenStream:
    """One stream of audio through a tokenizer; open it with `tokenizer.model.SpeechTokenizer.open_stream`.

    Args:
        log_mel: the mel front end.
        front: the encoder before the quantiser.
        quantiser: has a trained codebook.
        time: frame-rate arithmetic of the tokens.
    """

    def __init__(self, log_mel: LogMel, front: PreVQEncoder, quantiser: Quantiser, time: FrameRate) -> None:
        self.log_mel, self.front, self.quantiser, self.time = log_mel, front, quantiser, time
        self._start()

    def _start(self) -> None:
        self.mel = self.log_mel.streaming()
        self.cache = self.front.empty_cache()
        self.held = torch.zeros(self.front.num_mels, 0, device=self.log_mel.hann.device)  # of a chunk begun
        self.largest = torch.full((1, 1, 1), -torch.inf, device=self.held.device)  # of the piece so far
        self.num_encoded = 0  # frames

    def feed(self, samples: Samples) -> Codes:
        """Take (S,) samples at 16 kHz; returns the tokens of the chunks that they complete.

        However many samples come at once, memory holds the frames of ``PIECE`` of them.
        """
        check_audio(samples, 0)
        pieces = [samples[start : start + PIECE] for start in range(0, len(samples), PIECE)]
        return np.concatenate([np.zeros(0, dtype=np.uint16), *(self._take(self.mel.feed(piece)) for piece in pieces)])

    def finish(self) -> Codes:
        """End of the audio (padded to whole tokens); returns the remaining tokens and starts afresh."""
        padding = self.time.num_padding_frames(self.mel.num_fed)
        frames_MF = self.mel.finish(self.time.samples_per_token)
        tokens, rest = self._take(frames_MF, padding), np.zeros(0, dtype=np.uint16)
        if self.held.shape[1]:
            rest = self._encode(self.held, padding)
        self._start()
        return np.concatenate([tokens, rest])

    def _take(self, frames_MF: torch.Tensor, padding: int = 0) -> Codes:
        """Tokens of the chunks that these frames complete; the last ``padding`` of them lie after the audio."""
        self.held = torch.cat([self.held, frames_MF.to(self.held)], dim=1)
        tokens = [np.zeros(0, dtype=np.uint16)]
        while self.held.shape[1] >= (size := self._chunk_frames()):
            tokens.append(self._encode(self.held[:, :size], padding if self.held.shape[1] == size else 0))
            self.held = self.held[:, size:]
        return np.concatenate(tokens)

    def _chunk_frames(self) -> int:
        return self.front.next_chunk(self.cache) * self.time.frames_per_token

    def _encode(self, frames_MF: torch.Tensor, padding: int) -> Codes:
        with inference(self.front, self.quantiser):
            hidden_1TD, self.cache = self.front.step(self._clamped(frames_MF[None]), self.cache, padding)
            return self.quantiser.codes(hidden_1TD)[0].cpu().numpy().astype(np.uint16)

    def _clamped(self, mel_1MF: torch.Tensor) -> torch.Tensor:
        config = self.log_mel.config
        if not config.dynamic_range:
            return mel_1MF
        if self.num_encoded % (config.piece // config.hop) == 0:
            self.largest.fill_(-torch.inf)
        self.num_encoded += mel_1MF.shape[2]
        self.largest = self.largest.maximum(largest(mel_1MF))
        return self.log_mel.clamp(mel_1MF, self.largest)


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
