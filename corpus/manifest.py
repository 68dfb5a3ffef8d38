"""Speech manifests: NeMo's JSON lines (`audio_filepath, duration, text`) with `speaker, lang, id, kind` besides.

Audio paths are relative to the manifest's folder or absolute. lhotse reads the same files through `to_cuts`. An
utterance is a line of a manifest (`Utterance`), samples in memory (`AudioUtterance`) or speech tokens
(`corpus.tokens.TokenisedUtterance`).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from runtime.artefact import write_text
from runtime.errors import UserError

from .audio.files import Samples, audio_info
from .audio.segments import AudioSegment
from .json_lines import numbered_lines, parse_json_line

if TYPE_CHECKING:  # lhotse imports torch
    from lhotse import CutSet


@dataclass(frozen=True)
class Utterance:
    """One recording and its transcript.

    Attributes:
        id: unique within a manifest.
        audio: the file.
        duration: seconds.
        text: the transcript; "" where unknown.
        speaker: a name; "" where unknown.
        lang: ISO 639-1 code.
        kind: of utterance, e.g. "statement", "question", "reply", "user".
        offset: seconds from the beginning of the file, where the utterance is a segment of it; None: the whole file.
    """

    id: str
    audio: Path
    duration: float
    text: str
    speaker: str
    lang: str = "en"
    kind: str = ""
    offset: float | None = None

    @property
    def segment(self) -> AudioSegment:
        """The stretch of audio that it means (`corpus.audio.segments.read_segment`)."""
        return AudioSegment(self.audio, self.offset, self.duration)


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

    def of_kinds(self, kinds: Collection[str]) -> Manifest:
        """The manifest with its utterances of these kinds; with all where none is named.

        Raises:
            UserError: no utterance has any of them.
        """
        if not kinds:
            return self
        chosen = [utterance for utterance in self.utterances if utterance.kind in kinds]
        if not chosen:
            known = ", ".join(sorted({utterance.kind or "none at all" for utterance in self.utterances}))
            found = f"no utterance of the kinds {', '.join(kinds)}"
            raise UserError(str(self.path), found=found, remedy=f"its utterances are of kind {known}")
        return replace(self, utterances=chosen)


def read_manifest(
    path: Path | str, max_bad_share: float = 0.01, *, should_check_audio: bool = True, needs_text: bool = True
) -> Manifest:
    """Read a NeMo manifest. Bad records are left out as long as their share is at most ``max_bad_share``.

    A record is bad if it is no JSON object in UTF-8, lacks ``audio_filepath``, has an empty ``text`` (with
    ``needs_text``), a ``duration`` that is no positive number, an ``offset`` below 0, an ``id`` seen before, or (with
    ``should_check_audio``) an audio file that does not exist.

    Raises:
        UserError: no such file, no record at all, or too many bad ones (the first is named with its line).
    """
    file = Path(path)
    if not file.is_file():
        raise UserError(str(file), found="no such manifest", remedy="give the path of a NeMo JSON-lines manifest")
    utterances: list[Utterance] = []
    bad: list[BadRecord] = []
    seen: set[str] = set()
    with file.open("rb") as lines:
        for number, line in numbered_lines(lines):
            try:
                utterance = parse_record(line, file, number, needs_text=needs_text)
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


def list_bad_records(folder: Path, bad: Iterable[BadRecord]) -> None:
    """Write ``bad_records.jsonl``: place and reason of each record that was left out."""
    lines = (json.dumps(vars(record), ensure_ascii=False) + "\n" for record in bad)
    write_text(folder / "bad_records.jsonl", "".join(lines))


def check_bad_share(bad: list[BadRecord], num_records: int, max_bad_share: float) -> None:
    """Raise a `UserError` that names the first bad record if more than ``max_bad_share`` of them are bad."""
    if len(bad) > max_bad_share * num_records:
        found = f"{bad[0].reason}; {len(bad)} of {num_records} records are bad"
        raise UserError(
            bad[0].place, found=found, remedy=f"correct the records, or raise max_bad_share={max_bad_share}"
        )


def parse_record(line: bytes, file: Path, number: int, *, needs_text: bool = True) -> Utterance:
    """One manifest line; raises `ValueError` with the reason if it is bad. The id defaults to file stem and line."""
    record = parse_json_line(line)
    if not isinstance(record, dict):
        raise ValueError(f"a JSON {type(record).__name__} instead of an object")
    audio, text, duration, offset = (record.get(name) for name in ("audio_filepath", "text", "duration", "offset"))
    if not isinstance(audio, str) or not audio:
        raise ValueError("no audio_filepath")
    if text is not None and not isinstance(text, str):
        raise ValueError(f"text is {text!r}, no string")
    transcript = (text or "").strip()
    if needs_text and not transcript:
        raise ValueError("an empty transcript (it is needed here)")
    if not is_number(duration) or not 0 < duration < math.inf:
        raise ValueError(f"duration is {duration!r}, no positive number")
    if offset is not None and (not is_number(offset) or not 0 <= offset < math.inf):
        raise ValueError(f"offset is {offset!r}, no number from 0 on")
    return Utterance(
        id=str(record.get("id") or f"{file.stem}-{number:07d}"),
        audio=file.parent / audio,
        duration=float(duration),
        text=transcript,
        speaker=str(record.get("speaker") or ""),
        lang=str(record.get("lang") or "en"),
        kind=str(record.get("kind") or ""),
        offset=None if offset is None else float(offset),
    )


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def write_manifest(path: Path | str, utterances: Iterable[Utterance]) -> None:
    """Write a NeMo manifest, audio paths relative to it, atomically."""
    folder = Path(path).parent.resolve()
    lines = (manifest_line(one, os.path.relpath(one.audio.absolute(), folder)) for one in utterances)
    write_text(path, "".join(lines))


def manifest_line(utterance: Utterance, audio_filepath: str) -> str:
    """The line of an utterance in a NeMo manifest, with this path of its audio."""
    record: dict[str, Any] = {
        "id": utterance.id,
        "audio_filepath": audio_filepath,
        "duration": round(utterance.duration, 6),
        "text": utterance.text,
        "speaker": utterance.speaker,
        "lang": utterance.lang,
        "kind": utterance.kind,
    }
    record |= {} if utterance.offset is None else {"offset": utterance.offset}
    return json.dumps(record, ensure_ascii=False) + "\n"


def to_cuts(manifest: Manifest) -> CutSet:
    """The manifest as a lhotse `CutSet`: one `MonoCut` an utterance, its id and kind kept, audio read lazily."""
    from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
    from lhotse.audio import AudioSource

    cuts = []
    for utterance in manifest.utterances:
        info = audio_info(utterance.audio)
        start = utterance.offset or 0.0
        length = info.duration if utterance.offset is None else min(utterance.duration, info.duration - start)
        if length <= 0:
            found = f"offset {start:g} s beyond the end of the audio ({info.duration:.3f} s)"
            raise UserError(f"utterance {utterance.id}", found=found, remedy="correct the offset")
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
            duration=length,
            text=utterance.text,
            speaker=utterance.speaker,
            language=utterance.lang,
            custom={"kind": utterance.kind},
        )
        cuts.append(
            MonoCut(
                id=utterance.id,
                start=start,
                duration=length,
                channel=0,
                recording=recording,
                supervisions=[segment],
            )
        )
    return CutSet.from_cuts(cuts)
