"""Import of a user's recordings: a NeMo manifest is checked, its audio converted to 16 kHz mono FLAC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.artefact import remove_temporary_files
from runtime.bulk.parallel_map import in_parallel
from runtime.errors import UserError
from runtime.progress import Progress

from .audio.files import SAMPLE_RATE, write_audio
from .audio.frame_rate import SAMPLES_PER_TOKEN
from .audio.segments import DURATION_TOLERANCE, AudioSegment, read_segment
from .manifest import BadRecord, Manifest, check_bad_share, read_manifest
from .text.spoken_words import spoken_words

USER_KIND = "user"


@dataclass(frozen=True)
class Conversion:
    """One recording to convert: read ``source`` (its length may differ by ``tolerance`` seconds), write ``target``."""

    id: str
    source: AudioSegment
    target: Path
    tolerance: float = DURATION_TOLERANCE


def read_recordings(path: Path | str, max_bad_share: float) -> Manifest:
    """Read a user's manifest without opening the audio.

    Transcripts become their words as they are said (`corpus.text.spoken_words`), ids ``user-<id>``, kinds and unknown
    speakers "user".

    Raises:
        UserError: as `read_manifest`.
    """
    manifest = read_manifest(path, max_bad_share)
    utterances, bad = [], list(manifest.bad)
    for utterance in manifest.utterances:
        text = spoken_words(utterance.text)
        if not text:
            bad.append(BadRecord(f"{path}, id {utterance.id}", f"no words in the transcript {utterance.text!r}"))
            continue
        speaker = utterance.speaker or USER_KIND
        utterances.append(replace(utterance, text=text, speaker=speaker, kind=USER_KIND, id=f"user-{utterance.id}"))
    check_bad_share(bad, len(utterances) + len(bad), max_bad_share)
    return Manifest(manifest.path, utterances, bad)


def import_recordings(
    recordings: Manifest,
    folder: Path,
    units: Path,
    *,
    max_bad_share: float,
    workers: int,
    bar: Progress,
    tolerance: float = DURATION_TOLERANCE,
) -> Manifest:
    """Write each recording into ``folder`` as 16 kHz mono FLAC.

    Args:
        recordings: as `read_recordings` returns them.
        folder: receives the files.
        units: keeps finished units of work.
        max_bad_share: unreadable recordings are left out up to this share of all.
        workers: processes.
        bar: updated by one a recording.
        tolerance: seconds by which a recording's length may differ from the manifest's duration.

    Raises:
        UserError: too many recordings cannot be read; the first is named.
    """
    conversions = [
        Conversion(utterance.id, utterance.segment, folder / f"{number:07d}.flac", tolerance)
        for number, utterance in enumerate(recordings.utterances)
    ]
    outcomes = in_parallel(convert_chunk, conversions, units, processes=workers, bar=bar)
    remove_temporary_files([folder])
    utterances, bad = [], list(recordings.bad)
    for utterance, conversion in zip(recordings.utterances, conversions, strict=True):
        outcome = outcomes[utterance.id]
        if isinstance(outcome, str):
            bad.append(BadRecord(str(utterance.audio), outcome))
        else:
            utterances.append(replace(utterance, audio=conversion.target, duration=outcome, offset=None))
    check_bad_share(bad, len(utterances) + len(bad), max_bad_share)
    return Manifest(recordings.path, utterances, bad)


def convert_chunk(conversions: Sequence[Conversion]) -> dict[str, float | str]:
    """Convert some recordings; returns for each id its seconds of audio, or the reason why it is bad."""
    outcomes: dict[str, float | str] = {}
    for conversion in conversions:
        try:
            audio = read_segment(conversion.source, tolerance=conversion.tolerance)
        except UserError as error:
            outcomes[conversion.id] = error.found
            continue
        seconds = len(audio) / SAMPLE_RATE
        if len(audio) < SAMPLES_PER_TOKEN:
            outcomes[conversion.id] = f"only {seconds:.3f} s long"
            continue
        write_audio(conversion.target, audio, is_durable=False)
        outcomes[conversion.id] = seconds
    return outcomes
