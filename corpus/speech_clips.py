"""Clips of a speech corpus where they lie: whole audio files, members of tars, each opened and checked.

::

    <corpus>/<split>.jsonl                                     a manifest of audio files, or of segments of longer ones
    <corpus>/<split>/NAME.cuts.jsonl NAME.tar                  lhotse's Shar, as `corpus.audio.archives` writes it
    <corpus>/<split>/cuts.000000.jsonl.gz recording.000000.tar and as lhotse writes it
    <corpus>/<split>/audio_0.tar tarred_audio_manifest.json    NeMo's tarred audio

Nothing is copied but segments, which no byte range of a file is: they are written into a tar of their own.
"""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import UserError

from .audio.archives import CUTS_SUFFIX, ClipArchive, member_places, write_archive
from .audio.files import SAMPLE_RATE, Samples, open_audio, to_mono
from .audio.segments import DURATION_TOLERANCE, AudioSegment, read_segment
from .manifest import BadRecord, Manifest, Utterance, read_manifest
from .tarred_manifest import TARRED_MANIFEST, TarredManifest, shard_number

SILENCE = 1e-3  # largest sample of a recording in which nothing is said
ROUNDING = 0.002  # seconds by which a cut of a whole recording may differ from it


class FileRange(NamedTuple):
    """Encoded audio within a file.

    Attributes:
        file: an audio file, or a tar.
        offset: in bytes.
        bytes: number of them.
        samples: of the audio, at its own sample rate.
    """

    file: Path
    offset: int
    bytes: int
    samples: int


@dataclass(frozen=True)
class SpeechClip:
    """A clip of a corpus.

    Attributes:
        id: of the utterance.
        text: its transcript, "" where unknown.
        kind: of the utterance.
        place: of its audio.
        length: samples at 16 kHz.
    """

    id: str
    text: str
    kind: str
    place: FileRange
    length: int


class ClipRequest(NamedTuple):
    """A segment of audio to find, and what is known of it.

    Attributes:
        segment: of a file, or the whole file.
        id: of the utterance.
        text: its transcript, "" where unknown.
        kind: of the utterance.
    """

    segment: AudioSegment
    id: str = ""
    text: str = ""
    kind: str = ""


class SegmentArchive:
    """A tar for segments of longer recordings, made when the first one comes. A context manager.

    Args:
        path: of the tar.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stack = ExitStack()
        self._archive: ClipArchive | None = None
        self._count = 0

    def __enter__(self) -> SegmentArchive:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def add(self, audio: Samples) -> FileRange:
        """Append (S,) samples at 16 kHz."""
        if self._archive is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._archive = self._stack.enter_context(write_archive(self.path))
        place = self._archive.add(f"segment-{self._count:08d}", audio)
        self._count += 1
        return FileRange(self.path, *place)


def speech_shards(
    corpus: Path, split: str, *, kinds: Collection[str] = (), max_bad_share: float = 0.01
) -> Manifest | list[dict[str, str]]:
    """Where the speech of a split lies: a manifest, or shards as a `ShardReader` takes them.

    Args:
        corpus: folder.
        split: name.
        kinds: of a manifest's utterances; none: all.
        max_bad_share: of a manifest's lines.

    Raises:
        UserError: no such split, or a manifest with too many bad lines.
    """
    manifest, folder = corpus / f"{split}.jsonl", corpus / split
    if manifest.is_file():
        return read_manifest(manifest, max_bad_share, should_check_audio=False, needs_text=False).of_kinds(kinds)
    if cuts := sorted([*folder.glob("cuts.*.jsonl*"), *folder.glob(f"*{CUTS_SUFFIX}")]):
        return [{"cuts": str(file)} for file in cuts]
    if (folder / TARRED_MANIFEST).is_file():
        return [{"tar": str(tar)} for tar in sorted(folder.glob("*.tar"), key=shard_number)]
    remedy = f"give a folder with a manifest {split}.jsonl, or a folder {split}/ of lhotse's Shar or NeMo's tars"
    raise UserError(str(corpus), found=f"no speech of a split {split}", remedy=remedy)


def place_clip(request: ClipRequest, segments: SegmentArchive, max_seconds: float) -> SpeechClip | BadRecord:
    """The clip of a record's audio.

    A `BadRecord` where the audio cannot be read, is silent or too long, or has another length than its record says.
    """
    segment, id, text, kind = request
    name = str(segment.audio)
    try:
        if segment.offset is None:
            audio, samples = _read_whole(segment.audio, name)
            _check_duration(len(audio), segment.duration, name)
            place = FileRange(segment.audio.absolute(), 0, segment.audio.stat().st_size, samples)
            return SpeechClip(id, text, kind, place, check_clip(audio, name, max_seconds))
        audio = read_segment(segment)
        length = check_clip(audio, name, max_seconds)
        return SpeechClip(id, text, kind, segments.add(audio), length)
    except UserError as error:
        return BadRecord(error.subject, error.found)


def check_clip(audio: Samples, name: str, max_seconds: float) -> int:
    """The number of samples at 16 kHz.

    Raises:
        UserError: longer than ``max_seconds``, or silent.
    """
    if len(audio) > max_seconds * SAMPLE_RATE:
        found = f"longer than vectors.max_seconds={max_seconds:g} ({len(audio) / SAMPLE_RATE:.1f} s)"
        raise UserError(name, found=found, remedy="cut it, or raise vectors.max_seconds")
    if float(np.abs(audio).max(initial=0)) < SILENCE:
        raise UserError(name, found="silence", remedy="leave it out, or record it again")
    return len(audio)


def _check_duration(length: int, duration: float | None, name: str) -> None:
    if duration is not None and abs(length / SAMPLE_RATE - duration) > DURATION_TOLERANCE:
        found = f"another length than its record says ({length / SAMPLE_RATE:.3f} s of audio, not {duration:.3f} s)"
        raise UserError(name, found=found, remedy="correct the duration (a segment needs an offset too)")


def _read_whole(source: Path | io.BytesIO, name: str) -> tuple[Samples, int]:
    """Samples at 16 kHz of a whole file, and their number at its own rate."""
    with open_audio(source, name) as file:
        channels_SC, rate = file.read(), file.rate
    return to_mono(channels_SC, rate, name), len(channels_SC)


class ShardReader:
    """Finds the clips of shards; a manifest of tars is read once and kept for the next one."""

    def __init__(self) -> None:
        self._manifests: dict[Path, TarredManifest] = {}

    def clips(self, work: Mapping[str, Any], segments: SegmentArchive) -> Iterator[SpeechClip | BadRecord]:
        """The clips of a shard, in order; one that cannot be used comes as a `BadRecord`.

        Args:
            work: ``cuts`` or ``tar`` as `speech_shards` gives them, ``max_seconds`` of the longest clip, and ``kinds``
                of the utterances (none: all).
            segments: receives segments of longer recordings.
        """
        if "cuts" in work:
            found = _of_cuts(Path(work["cuts"]), segments, work["max_seconds"])
        else:
            found = self._of_tar(Path(work["tar"]), segments, work["max_seconds"])
        for one in found:
            if isinstance(one, BadRecord) or not work["kinds"] or one.kind in work["kinds"]:
                yield one

    def _of_tar(self, tar: Path, segments: SegmentArchive, max_seconds: float) -> Iterator[SpeechClip | BadRecord]:
        """The records of a tar of NeMo's tarred audio."""
        path = tar.parent / TARRED_MANIFEST
        if path not in self._manifests:
            self._manifests[path] = TarredManifest.read(path)
        manifest = self._manifests[path]
        missing, bad = manifest.of_shard(shard_number(tar))
        yield from bad
        missing = dict(missing)
        with tar.open("rb") as archive:
            for name, (offset, size) in member_places(tar).items():
                utterances = missing.pop(manifest.name_of(name), [])
                if utterances:
                    archive.seek(offset)
                    content = archive.read(size)
                for one in utterances:
                    place = FileRange(tar.absolute(), offset, size, 0)
                    try:
                        yield _of_member(one, content, place, segments, max_seconds)
                    except UserError as error:
                        yield BadRecord(error.subject, error.found)
        yield from (BadRecord(f"{tar}, {name}", "not in the archive") for name in missing)


def _of_member(
    one: Utterance, content: bytes, place: FileRange, segments: SegmentArchive, max_seconds: float
) -> SpeechClip:
    name = f"{place.file}, {one.id}"
    if one.offset is None:
        audio, samples = _read_whole(io.BytesIO(content), name)
        _check_duration(len(audio), one.duration, name)
        length = check_clip(audio, name, max_seconds)
        return SpeechClip(one.id, one.text, one.kind, place._replace(samples=samples), length)
    audio = read_segment(one.segment, content=io.BytesIO(content), name=name)
    length = check_clip(audio, name, max_seconds)
    return SpeechClip(one.id, one.text, one.kind, segments.add(audio), length)


def _of_cuts(cuts: Path, segments: SegmentArchive, max_seconds: float) -> Iterator[SpeechClip | BadRecord]:
    """The supervisions of a shard's cuts; a cut without any is a clip without a transcript."""
    tar = audio_of_cuts(cuts)
    members = {name.rsplit(".", 1)[0]: place for name, place in member_places(tar).items() if _is_audio(name)}
    with tar.open("rb") as archive, (gzip.open if cuts.suffix == ".gz" else open)(cuts, "rt", encoding="utf-8") as file:
        for line in file:
            cut = json.loads(line)
            try:
                if cut["id"] not in members:
                    raise UserError(f"{tar}, {cut['id']}", found="not in the archive", remedy="write the shard again")
                offset, size = members[cut["id"]]
                archive.seek(offset)
                audio, samples = _read_whole(io.BytesIO(archive.read(size)), f"{tar}, {cut['id']}")
                whole = FileRange(tar.absolute(), offset, size, samples)
                yield from _clips_of_cut(cut, audio, whole, segments, max_seconds)
            except UserError as error:
                yield BadRecord(error.subject, error.found)


def _clips_of_cut(
    cut: dict[str, Any], audio: Samples, whole: FileRange, segments: SegmentArchive, max_seconds: float
) -> Iterator[SpeechClip]:
    labels = cut.get("supervisions") or [{"id": cut["id"], "start": 0.0, "duration": cut["duration"]}]
    for label in labels:
        name = f"{whole.file}, {label['id']}"
        start = float(cut.get("start", 0.0)) + float(label["start"])
        seconds = float(label["duration"])
        is_whole = start < ROUNDING and abs(seconds - len(audio) / SAMPLE_RATE) < ROUNDING
        part = audio if is_whole else audio[round(start * SAMPLE_RATE) : round((start + seconds) * SAMPLE_RATE)]
        length = check_clip(part, name, max_seconds)
        kind = str((label.get("custom") or {}).get("kind", ""))
        place = whole if is_whole else segments.add(part)
        yield SpeechClip(str(label["id"]), str(label.get("text") or "").strip(), kind, place, length)


def audio_of_cuts(cuts: Path) -> Path:
    """The tar with the recordings of a shard's cuts.

    Raises:
        UserError: there is none.
    """
    if cuts.name.endswith(CUTS_SUFFIX):
        tar = cuts.with_name(cuts.name.removesuffix(CUTS_SUFFIX) + ".tar")
    else:
        tar = cuts.parent / (re.sub(r"^cuts\.(\d+)\.jsonl.*$", r"recording.\1.tar", cuts.name))
    if not tar.is_file():
        remedy = "a Shar needs the field 'recording' for each shard of cuts"
        raise UserError(str(tar), found="no such file", remedy=remedy)
    return tar


def _is_audio(name: str) -> bool:
    return not name.endswith((".json", ".nodata", ".nometa"))
