"""Speech manifests: NeMo's JSON lines (`audio_filepath, duration, text`) with `speaker, lang, id, kind` besides.

Audio paths are relative to the manifest's folder or absolute. lhotse reads the same files through `to_cuts`. An
utterance is a line of a manifest (`Utterance`), samples in memory (`AudioUtterance`) or speech tokens
(`corpus.tokens.TokenisedUtterance`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import write_text
from runtime.errors import UserError

from .audio.files import Samples, audio_info

if TYPE_CHECKING:  # lhotse imports torch
    from lhotse import CutSet


@dataclass(frozen=True)
class Utterance:
    """One recording and its transcript.

    Attributes:
        id: unique within a manifest.
        audio: the file.
        duration: seconds.
        text: the transcript.
        speaker: a name; "" where unknown.
        lang: ISO 639-1 code.
        kind: of utterance, e.g. "statement", "question", "reply", "user".
    """

    id: str
    audio: Path
    duration: float
    text: str
    speaker: str
    lang: str = "en"
    kind: str = ""


@dataclass(frozen=True, eq=False)
class AudioUtterance:
    """One utterance with its samples: (S,) float32 at a sample rate known to its reader."""

    id: str
    text: str
    speaker: str
    lang: str
    kind: str
    audio: Samples


@dataclass(frozen=True)
class BadRecord:
    """A record that was left out: its place (file and line, or audio file) and the reason."""

    place: str
    reason: str


@dataclass(frozen=True)
class Manifest:
    """The utterances of a manifest file, and the records that were left out."""

    path: Path
    utterances: list[Utterance]
    bad: list[BadRecord]

    @property
    def duration(self) -> float:
        """Seconds of audio in all."""
        return math.fsum(utterance.duration for utterance in self.utterances)


def read_manifest(path: Path | str, max_bad_share: float = 0.01, *, should_check_audio: bool = True) -> Manifest:
    """Read a NeMo manifest. Bad records are left out as long as their share is at most ``max_bad_share``.

    A record is bad if it is no JSON object, lacks ``audio_filepath``, has an empty ``text``, a ``duration`` that is no
    positive number, an ``id`` seen before, or (with ``should_check_audio``) an audio file that does not exist.

    Raises:
        UserError: no such file, no record at all, or too many bad ones (the first is named with its line).
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(str(file), found="no such manifest", remedy="give the path of a NeMo JSON-lines manifest")
    utterances: list[Utterance] = []
    bad: list[BadRecord] = []
    seen: set[str] = set()
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                utterance = parse_record(line, file, number)
                if utterance.id in seen:
                    raise ValueError(f"id {utterance.id!r} was used before")
                if should_check_audio and not utterance.audio.is_file():
                    raise ValueError(f"no audio file {utterance.audio}")
            except ValueError as error:
                bad.append(BadRecord(f"{file}, line {number}", str(error)))
            else:
                seen.add(utterance.id)
                utterances.append(utterance)
    if not utterances and not bad:
        raise UserError(str(file), found="an empty manifest", remedy="write one JSON object a line")
    check_bad_share(bad, len(utterances) + len(bad), max_bad_share)
    return Manifest(file, utterances, bad)


def check_bad_share(bad: list[BadRecord], num_records: int, max_bad_share: float) -> None:
    """Raise a `UserError` that names the first bad record if more than ``max_bad_share`` of them are bad."""
    if len(bad) > max_bad_share * num_records:
        found = f"{bad[0].reason}; {len(bad)} of {num_records} records are bad"
        raise UserError(
            bad[0].place, found=found, remedy=f"correct the records, or raise max_bad_share={max_bad_share}"
        )


def parse_record(line: str, file: Path, number: int) -> Utterance:
    """One manifest line; raises `ValueError` with the reason if it is bad. The id defaults to file stem and line."""
    try:
        record: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error.msg})") from error
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
    audio, text, duration = record.get("audio_filepath"), record.get("text"), record.get("duration")
    if not isinstance(audio, str) or not audio:
        raise ValueError("no audio_filepath")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("an empty transcript")
    if isinstance(duration, bool) or not isinstance(duration, int | float) or not 0 < duration < math.inf:
        raise ValueError(f"duration is {duration!r}, no positive number")
    return Utterance(
        id=str(record.get("id") or f"{file.stem}-{number:07d}"),
        audio=file.parent / audio,
        duration=float(duration),
        text=text.strip(),
        speaker=str(record.get("speaker") or ""),
        lang=str(record.get("lang") or "en"),
        kind=str(record.get("kind") or ""),
    )


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a NeMo manifest, audio paths relative to it, atomically."""
    folder = Path(path).parent.resolve()
    lines = []
    for utterance in utterances:
        record = {
            "id": utterance.id,
            "audio_filepath": os.path.relpath(utterance.audio.absolute(), folder),
            "duration": round(utterance.duration, 6),
            "text": utterance.text,
            "speaker": utterance.speaker,
            "lang": utterance.lang,
            "kind": utterance.kind,
        }
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    write_text(path, "".join(lines))


def to_cuts(manifest: Manifest) -> CutSet:
    """The manifest as a lhotse `CutSet`: one `MonoCut` an utterance, its id and kind kept, audio read lazily."""
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.audio import AudioSource

    cuts = []
    for utterance in manifest.utterances:
        info = audio_info(utterance.audio)
        source = AudioSource(type="file", channels=list(range(info.num_channels)), source=str(utterance.audio))
        recording = Recording(
            id=utterance.id,
            sources=[source],
            sampling_rate=info.sample_rate,
            num_samples=info.num_samples,
            duration=info.duration,
        )
        segment = SupervisionSegment(
            id=utterance.id,
            recording_id=utterance.id,
            start=0.0,
            duration=info.duration,
            text=utterance.text,
            speaker=utterance.speaker,
            language=utterance.lang,
            custom={"kind": utterance.kind},
        )
        cuts.append(
            MonoCut(
                id=utterance.id,
                start=0.0,
                duration=info.duration,
                channel=0,
                recording=recording,
                supervisions=[segment],
            )
        )
    return CutSet.from_cuts(cuts)
