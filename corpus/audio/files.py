"""Audio files: mono float32 at one sample rate from any file that libsndfile reads; 16-bit files written.

S samples.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_path
from runtime.errors import UserError
from runtime.record_warnings import warn_of_record

SAMPLE_RATE = 16_000
HIGHEST_SCALE = 16.0  # decoders overshoot full scale, but not by 24 dB; speech at 16-bit scale is louder than that
QUIETEST_CHANNEL = 1e-3  # largest sample of a recording whose channels hold nothing that could cancel out
CANCELLED = 0.01  # of the channels' power; independent ones leave 1 / their number

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AudioInfo:
    """The header of an audio file: sample rate in Hz, number of samples in each channel, number of channels."""

    sample_rate: int
    num_samples: int
    num_channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.sample_rate


def audio_info(path: Path | str) -> AudioInfo:
    """Read the header of an audio file.

    Raises:
        UserError: the file is missing or no audio that libsndfile knows.
    """
    import soundfile

    check_is_file(path)
    try:
        info = soundfile.info(str(path))
    except Exception as error:  # a headerless file, say, raises a TypeError
        raise unreadable(path, error) from error
    return AudioInfo(info.samplerate, info.frames, info.channels)


def read_audio(path: Path | str, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Read an audio file as mono at ``sample_rate``: channels are averaged, other rates are resampled (soxr HQ).

    Returns:
        (S,) float32, full scale 1.

    Raises:
        UserError: the file is missing, corrupt, empty, or holds NaN or infinite samples.
    """
    with open_audio(path, str(path)) as file:
        channels_SC, rate = file.read(), file.rate
    return to_mono(channels_SC, rate, str(path), sample_rate)


class AudioFile:
    """An open audio file: whatever its decoder raises becomes a `UserError` with the file's name."""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self._name = file, name
        self.rate, self.length = int(file.samplerate), int(file.frames)

    def read(self, start: int = 0, count: int = -1) -> npt.NDArray[np.float32]:
        """(S, C) samples from ``start`` on: ``count`` of them or fewer at the end of the file, all where it is -1."""
        try:
            if start:
                self._file.seek(start)
            channels_SC: npt.NDArray[np.float32] = self._file.read(count, dtype="float32", always_2d=True)
        except Exception as error:
            raise unreadable(self._name, error) from error
        return channels_SC


@contextlib.contextmanager
def open_audio(source: Path | str | io.BytesIO, name: str) -> Iterator[AudioFile]:
    """Open a path, or a file's bytes (of an archive, say); ``name`` stands in errors.

    Raises:
        UserError: the file is missing, or no audio that libsndfile knows.
    """
    import soundfile

    if not isinstance(source, io.BytesIO):
        check_is_file(source)
    try:
        file = soundfile.SoundFile(source if isinstance(source, io.BytesIO) else str(source))
    except Exception as error:  # a headerless file, say, raises a TypeError
        raise unreadable(name, error) from error
    with file:
        yield AudioFile(file, name)


def check_is_file(path: Path | str) -> None:
    """Raise a `UserError` where there is no such file."""
    if not Path(path).is_file():
        raise UserError(str(path), found="no such audio file", remedy="check audio_filepath in the manifest")


def to_mono(
    channels_SC: npt.NDArray[np.float32], source_rate: int, name: str, sample_rate: int = SAMPLE_RATE
) -> Samples:
    """Channels (S, C) averaged, at another sample rate.

    Channels that cancel out and samples far beyond full scale are used as they are, with a warning
    (`runtime.record_warnings`).

    Raises:
        UserError: no samples, NaN or infinity.
    """
    if not len(channels_SC):
        raise UserError(name, found="an audio file without samples", remedy="remove it or record it again")
    largest = max(float(channels_SC.max()), -float(channels_SC.min()))
    if not np.isfinite(largest):  # NaN is the largest of any
        raise UserError(name, found="NaN or infinite samples", remedy="remove it or convert it again")
    audio = channels_SC[:, 0] if channels_SC.shape[1] == 1 else channels_SC.mean(axis=1, dtype=np.float32)
    warn_of_levels(channels_SC, audio, largest, name)
    return resample(np.ascontiguousarray(audio), source_rate, sample_rate)


def warn_of_levels(channels_SC: npt.NDArray[np.float32], audio: Samples, largest: float, name: str) -> None:
    """Warn of channels that cancel out in their mean (S,), and of samples, the ``largest`` given, at another scale."""
    if largest > HIGHEST_SCALE:
        reason = f"samples up to {largest:,.0f}, where full scale is 1: divide 16-bit samples by 32768"
        warn_of_record(name, reason)
    if channels_SC.shape[1] == 1 or largest < QUIETEST_CHANNEL:
        return
    loud, mixed = power(channels_SC), power(audio)
    if mixed < CANCELLED * loud:
        decibels = 10 * np.log10(max(mixed, 1e-12 * loud) / loud)
        channels = channels_SC.shape[1]
        warn_of_record(name, f"its {channels} channels cancel out ({decibels:.0f} dB in the mix to mono): keep one")


def power(samples: npt.NDArray[np.float32]) -> float:
    """Mean square."""
    flat = samples.ravel()
    return float(np.dot(flat, flat)) / flat.size


def resample(audio: Samples, source_rate: int, target_rate: int) -> Samples:
    """Change the sample rate of (S,) mono audio."""
    if source_rate == target_rate:
        return audio
    import soxr

    return np.asarray(soxr.resample(audio, source_rate, target_rate, quality="HQ"), dtype=np.float32)


def write_audio(path: Path | str, audio: Samples, sample_rate: int = SAMPLE_RATE, *, is_durable: bool = True) -> None:
    """Write (S,) mono audio as 16 bit, atomically; the suffix gives the format (``.flac``, ``.wav``, ...).

    Args:
        path: the file to write.
        audio: full scale 1; samples beyond it are clipped.
        sample_rate: in Hz.
        is_durable: wait until the disk has it. Bulk writers pass False and flush once at the end.
    """
    content = encode_audio(audio, sample_rate, Path(path).suffix.removeprefix(".").upper())
    with atomic_path(path, is_durable=is_durable) as temporary:
        temporary.write_bytes(content)


def encode_wav(audio: Samples, sample_rate: int = SAMPLE_RATE) -> bytes:
    """The bytes of a 16-bit WAV file of (S,) float32 samples."""
    return encode_audio(audio, sample_rate, "WAV")


def encode_audio(audio: Samples, sample_rate: int, kind: str) -> bytes:
    """The bytes of a 16-bit file of (S,) float32 samples; ``kind`` is libsndfile's name of the format (``FLAC``)."""
    import soundfile

    encoded = io.BytesIO()  # libsndfile hides the operating system's error when a write to a file fails
    soundfile.write(encoded, np.clip(audio, -1.0, 1.0), sample_rate, format=kind, subtype="PCM_16")
    return encoded.getvalue()


def unreadable(path: Path | str, error: Exception) -> UserError:
    """The error for a file that libsndfile refuses."""
    reason = (str(error).split(": ", 1)[-1].splitlines() or [repr(error)])[0]
    return UserError(str(path), found=f"not readable as audio ({reason})", remedy="remove it or convert it to FLAC")
