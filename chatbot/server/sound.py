"""Audio files of requests and responses, read and written by libsndfile in memory and within limits.

S samples.
"""

from __future__ import annotations

import io
import struct
from typing import Literal

import numpy as np

from chatbot.engine.pcm import WIRE_RATE, encode_pcm16
from corpus.audio.files import Samples, resample, to_mono

from .errors import ApiError

Format = Literal["wav", "mp3", "flac", "opus", "pcm", "pcm16"]
MEDIA_TYPES: dict[Format, str] = {
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "pcm": "audio/pcm",
    "pcm16": "audio/pcm",
}
CONTAINERS: dict[str, tuple[str, str | None]] = {  # libsndfile's names of format and coding
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", None),
    "opus": ("OGG", "OPUS"),
}
MAX_CHANNELS = 16
SAMPLE_RATES = (4_000, 384_000)  # Hz, what is worth resampling
UNKNOWN_LENGTH = 0xFFFFFFFF  # of a WAV that is written while it is made; players read to the end


def decode_sound(data: bytes, name: str, max_seconds: float) -> Samples:
    """(S,) samples at 16 kHz of an audio file; never more than ``max_seconds`` are unpacked, whatever its header says.

    Args:
        data: the file's bytes.
        name: the field of the request, for errors.
        max_seconds: longest audio.

    Raises:
        ApiError: 400 no audio, 413 too much of it.
        UserError: no samples, or samples that are no numbers.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, channels = file.samplerate, file.channels
            if not SAMPLE_RATES[0] <= rate <= SAMPLE_RATES[1] or channels > MAX_CHANNELS:
                message = f"{name}: {rate} Hz in {channels} channels; send {SAMPLE_RATES[0]} to {SAMPLE_RATES[1]} Hz"
                raise ApiError(400, f"{message} in at most {MAX_CHANNELS}", param=name, code="invalid_audio")
            most = int(max_seconds * rate)
            samples_SC = file.read(most + 1, dtype="float32", always_2d=True)
    except ApiError:
        raise
    except Exception as error:  # a headerless file, say, raises a TypeError
        message = f"{name}: no audio that can be read; send WAV, MP3, FLAC or Ogg"
        raise ApiError(400, message, param=name, code="invalid_audio") from error
    if len(samples_SC) > most:
        raise ApiError(413, f"{name}: more than {max_seconds:g} s of audio", param=name, code="audio_too_long")
    return to_mono(samples_SC, rate, name)


def encode_sound(samples: Samples, sample_rate: int, form: Format) -> bytes:
    """A file of (S,) ``samples``: WAV and FLAC at their own rate, the others at 24 kHz (raw PCM without header)."""
    import soundfile

    if form not in ("wav", "flac"):
        samples, sample_rate = resample(samples, sample_rate, WIRE_RATE), WIRE_RATE
    if form in ("pcm", "pcm16"):
        return encode_pcm16(samples)
    kind, subtype = CONTAINERS[form]
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(samples, -1.0, 1.0), sample_rate, format=kind, subtype=subtype)
    return encoded.getvalue()


def wav_header(sample_rate: int) -> bytes:
    """The head of a mono 16-bit WAV whose length is not known yet."""
    form = struct.pack("<HHIIHH", 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    head = b"RIFF" + struct.pack("<I", UNKNOWN_LENGTH) + b"WAVEfmt " + struct.pack("<I", len(form))
    return head + form + b"data" + struct.pack("<I", UNKNOWN_LENGTH)
