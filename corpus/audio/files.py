"""Audio files: mono float32 at one sample rate from any file that libsndfile reads; 16-bit files written.

S samples.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from runtime.artefact import atomic_path
from runtime.errors import UserError

SAMPLE_RATE = 16_000

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

    if not Path(path).is_file():
        raise UserError(str(path), found="no such audio file", remedy="check audio_filepath in the manifest")
    try:
        info = soundfile.info(str(path))
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise unreadable(path, error) from error
    return AudioInfo(info.samplerate, info.frames, info.channels)


def read_audio(path: Path | str, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Read an audio file as mono at ``sample_rate``: channels are averaged, other rates are resampled (soxr HQ).

    Returns:
        (S,) float32, full scale 1.

    Raises:
        UserError: the file is missing, corrupt, empty, or holds NaN or infinite samples.
    """
    if not Path(path).is_file():
        raise UserError(str(path), found="no such audio file", remedy="check audio_filepath in the manifest")
    return decode_audio(str(path), str(path), sample_rate)


def decode_audio(source: str | io.BytesIO, name: str, sample_rate: int = SAMPLE_RATE) -> Samples:
    """As `read_audio`, from a path or from a file's bytes (of an archive, say); ``name`` stands in errors."""
    import soundfile

    try:
        channels_SC, file_rate = soundfile.read(source, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise unreadable(name, error) from error
    return to_mono(channels_SC, file_rate, name, sample_rate)


def to_mono(
    channels_SC: npt.NDArray[np.float32], source_rate: int, name: str, sample_rate: int = SAMPLE_RATE
) -> Samples:
    """Channels (S, C) averaged, at another sample rate; raises a `UserError` for no samples, NaN or infinity."""
    if not len(channels_SC):
        raise UserError(name, found="an audio file without samples", remedy="remove it or record it again")
    audio = channels_SC[:, 0] if channels_SC.shape[1] == 1 else channels_SC.mean(axis=1, dtype=np.float32)
    if not np.isfinite(audio).all():
        raise UserError(name, found="NaN or infinite samples", remedy="remove it or convert it again")
    return resample(np.ascontiguousarray(audio), source_rate, sample_rate)


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
    import soundfile

    encoded = io.BytesIO()  # libsndfile hides the operating system's error when a write fails
    kind = Path(path).suffix.removeprefix(".").upper()
    soundfile.write(encoded, np.clip(audio, -1.0, 1.0), sample_rate, format=kind, subtype="PCM_16")
    with atomic_path(path, is_durable=is_durable) as temporary:
        temporary.write_bytes(encoded.getbuffer())


def unreadable(path: Path | str, error: Exception) -> UserError:
    """The error for a file that libsndfile refuses."""
    reason = str(error).split(": ", 1)[-1]
    return UserError(str(path), found=f"not readable as audio ({reason})", remedy="remove it or convert it to FLAC")
