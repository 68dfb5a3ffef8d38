"""Samples in transit: checks, 16-bit little-endian PCM, base64, and resampling of a stream piece by piece.

The Realtime protocol and the HTTP interface carry 24 kHz; the tokenizer takes 16 kHz, the decoder has its own rate.

S samples, float32, full scale 1.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np

from corpus.audio.files import Samples
from runtime.errors import UserError

WIRE_RATE = 24_000  # Hz, of PCM in OpenAI's interfaces
FULL_SCALE = 32_768.0


def decode_pcm16(data: bytes, subject: str = "the audio") -> Samples:
    """(S,) samples of little-endian 16-bit ``data``.

    Raises:
        UserError: an odd number of bytes; ``subject`` stands in it.
    """
    if len(data) % 2:
        remedy = "send whole 16-bit samples, two bytes each"
        raise UserError(subject, found=f"{len(data)} bytes, an odd number", remedy=remedy)
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / np.float32(FULL_SCALE)


def encode_pcm16(samples: Samples) -> bytes:
    """Little-endian 16-bit bytes of (S,) ``samples``; what lies beyond full scale is clipped."""
    scaled = np.rint(np.asarray(samples, dtype=np.float32) * np.float32(FULL_SCALE))
    return np.clip(scaled, -32_768, 32_767).astype("<i2").tobytes()


def decode_base64(text: str, subject: str = "the audio") -> bytes:
    """The bytes that ``text`` stands for; line breaks, missing padding and a data URL's head are accepted.

    Raises:
        UserError: no base64.
    """
    body = "".join((text.partition(",")[2] if text.startswith("data:") else text).split())
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(subject, found=f"no base64 ({error})", remedy="encode the audio's bytes as base64") from error


def encode_base64(data: bytes) -> str:
    """``data`` as base64 text."""
    return base64.b64encode(data).decode("ascii")


def checked_samples(samples: Samples) -> Samples:
    """A copy of (S,) samples as float32.

    Raises:
        UserError: an array of another shape, of no numbers, or with NaN or infinite samples.
    """
    audio = np.asarray(samples)
    if audio.ndim != 1 or not np.issubdtype(audio.dtype, np.floating):
        found = f"an array of shape {audio.shape}, type {audio.dtype}"
        raise UserError("the audio", found=found, remedy="give one channel of float32 samples at 16 kHz")
    if not np.isfinite(audio).all():
        raise UserError("the audio", found="NaN or infinite samples", remedy="send samples from -1 to 1")
    return audio.astype(np.float32, copy=True)


class Resampler:
    """Changes the sample rate of a stream; the pieces together are bit for bit what the whole would give (soxr HQ).

    About 35 ms stay inside until `finish`, which the filter needs to look ahead.

    Args:
        source_rate: in Hz, of what comes in.
        target_rate: in Hz, of what goes out.
    """

    def __init__(self, source_rate: int, target_rate: int) -> None:
        self.source_rate, self.target_rate = source_rate, target_rate
        self._stream = self._open()

    def feed(self, samples: Samples) -> Samples:
        """The samples that are final after (S,) ``samples`` came in; may be none."""
        if self._stream is None:
            return np.asarray(samples, dtype=np.float32)
        return self._stream.resample_chunk(np.ascontiguousarray(samples, dtype=np.float32))

    def finish(self) -> Samples:
        """The samples left at the stream's end; the next `feed` begins a new stream."""
        if self._stream is None:
            return np.zeros(0, dtype=np.float32)
        rest = self._stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        self._stream = self._open()
        return rest

    def _open(self) -> Any:
        if self.source_rate == self.target_rate:
            return None
        import soxr

        return soxr.ResampleStream(self.source_rate, self.target_rate, 1, dtype="float32", quality="HQ")
