"""The stretch of an audio file that a record means: all of it, or a segment given by offset and duration.

Every reader of manifests, tars and dialogues reads its audio here. S samples.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import UserError

from .files import SAMPLE_RATE, Samples, open_audio, to_mono

DURATION_TOLERANCE = 0.25  # seconds


@dataclass(frozen=True)
class AudioSegment:
    """A stretch of an audio file.

    Attributes:
        audio: the file.
        offset: seconds from its beginning; None where the record means the whole file.
        duration: seconds; None where the record does not say (to the end of the file).
    """

    audio: Path
    offset: float | None = None
    duration: float | None = None


def read_segment(
    segment: AudioSegment,
    sample_rate: int = SAMPLE_RATE,
    *,
    tolerance: float = DURATION_TOLERANCE,
    content: io.BytesIO | None = None,
    name: str = "",
) -> Samples:
    """Read the samples that a record means, as mono; a segment is sought in the file, the rest is not decoded.

    Args:
        segment: the record's file, offset and duration.
        sample_rate: of the result.
        tolerance: seconds by which the length found may differ from the record's duration.
        content: the bytes of the file, where it lies in an archive.
        name: of the audio in errors; by default the file.

    Returns:
        (S,) float32, full scale 1.

    Raises:
        UserError: as `corpus.audio.files.read_audio`; a length that differs by more than ``tolerance``.
    """
    name = name or str(segment.audio)
    with open_audio(segment.audio if content is None else content, name) as file:
        rate, length = file.rate, file.length
        start = round((segment.offset or 0.0) * rate)
        if start and start >= length:
            found = f"offset {segment.offset:g} s beyond the end of the audio ({length / rate:.3f} s)"
            raise UserError(name, found=found, remedy="correct the offset")
        is_whole = segment.offset is None or segment.duration is None
        channels_SC = file.read(start, -1 if is_whole else round((segment.duration or 0.0) * rate))
    seconds = len(channels_SC) / rate
    if segment.duration is not None and abs(seconds - segment.duration) > tolerance and len(channels_SC):
        found = f"{seconds:.3f} s of audio, but a duration of {segment.duration:.3f} s in the record"
        remedy = "correct the duration (a segment needs an offset too), or raise duration_tolerance"
        raise UserError(name, found=found, remedy=remedy)
    return to_mono(channels_SC, rate, name, sample_rate)
