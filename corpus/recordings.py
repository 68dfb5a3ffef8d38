"""A user's own recordings: a NeMo manifest is checked, and its audio taken into the corpus as 16 kHz mono FLAC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from runtime.bulk.parallel_map import in_parallel
from runtime.errors import UserError
from runtime.progress import Progress

from .audio.files import SAMPLE_RATE, read_audio, write_audio
from .audio.frame_rate import SAMPLES_PER_TOKEN
from .manifest import BadRecord, Utterance, check_bad_share, read_manifest
from .text.normalisation import normalise
from .world.synthesis import remove_remnants

USER_KIND = "user"


@dataclass(frozen=True)
class ImportedRecordings:
    """The utterances that were taken in (kind "user", normalised transcripts), and the records left out."""

    utterances: list[Utterance]
    bad: list[BadRecord]


@dataclass(frozen=True)
class Transfer:
    """One recording to take in: read ``source``, write ``target``."""

    id: str
    source: Path
    target: Path


def read_recordings(path: Path | str, max_bad_share: float) -> ImportedRecordings:
    """Read a user's manifest without opening the audio: ids become ``user-<id>``, unknown speakers "user".

    Raises:
        UserError: as `read_manifest`.
    """
    manifest = read_manifest(path, max_bad_share)
    utterances, bad = [], list(manifest.bad)
    for utterance in manifest.utterances:
        text = normalise(utterance.text)
        if not text:
            bad.append(BadRecord(f"{path}, id {utterance.id}", f"no words in the transcript {utterance.text!r}"))
            continue
        speaker = utterance.speaker or USER_KIND
        utterances.append(replace(utterance, text=text, speaker=speaker, kind=USER_KIND, id=f"user-{utterance.id}"))
    check_bad_share(bad, len(utterances) + len(bad), max_bad_share)
    return ImportedRecordings(utterances, bad)


def import_recordings(
    recordings: ImportedRecordings, folder: Path, units: Path, *, max_bad_share: float, workers: int, bar: Progress
) -> ImportedRecordings:
    """Write each recording into ``folder`` as 16 kHz mono FLAC.

    Args:
        recordings: what `read_recordings` found.
        folder: receives the files.
        units: keeps what is done.
        max_bad_share: unreadable recordings are left out up to this share of all.
        workers: processes.
        bar: updated by one a recording.

    Raises:
        UserError: too many recordings cannot be read; the first is named.
    """
    transfers = [
        Transfer(utterance.id, utterance.audio, folder / f"{number:07d}.flac")
        for number, utterance in enumerate(recordings.utterances)
    ]
    outcomes: dict[str, float | str] = in_parallel(import_chunk, transfers, units, processes=workers, bar=bar)
    remove_remnants([folder])
    utterances, bad = [], list(recordings.bad)
    for utterance, transfer in zip(recordings.utterances, transfers, strict=True):
        outcome = outcomes[utterance.id]
        if isinstance(outcome, str):
            bad.append(BadRecord(str(utterance.audio), outcome))
        else:
            utterances.append(replace(utterance, audio=transfer.target, duration=outcome))
    check_bad_share(bad, len(utterances) + len(bad), max_bad_share)
    return ImportedRecordings(utterances, bad)


def import_chunk(transfers: Sequence[Transfer]) -> dict[str, float | str]:
    """One unit: seconds of audio for each id, or why the recording is bad."""
    outcomes: dict[str, float | str] = {}
    for transfer in transfers:
        try:
            audio = read_audio(transfer.source)
        except UserError as error:
            outcomes[transfer.id] = error.found
            continue
        seconds = len(audio) / SAMPLE_RATE
        if len(audio) < SAMPLES_PER_TOKEN:
            outcomes[transfer.id] = f"only {seconds:.3f} s long"
            continue
        write_audio(transfer.target, audio, is_durable=False)
        outcomes[transfer.id] = seconds
    return outcomes
