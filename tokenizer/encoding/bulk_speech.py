"""Speech in bulk as units of work: NeMo manifests, lhotse Shar, and NeMo's tarred audio.

::

    <corpus>/<split>.jsonl                                     a manifest; units are some utterances of like length
    <corpus>/<split>/cuts.000000.jsonl.gz recording.000000.tar Shar; a unit is a shard
    <corpus>/<split>/audio_0.tar tarred_audio_manifest.json    tarred audio (``shard_id``); a unit is a tar
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from corpus.audio.files import Samples, decode_audio, read_audio, to_mono
from corpus.audio.room_simulation import RoomConfig, record_in_room
from corpus.manifest import AudioUtterance, BadRecord, Manifest, Utterance, parse_record, read_manifest
from runtime.bulk.unit import Unit
from runtime.errors import UserError

TARRED_MANIFEST = "tarred_audio_manifest.json"


@dataclass(frozen=True)
class Split:
    """Where the speech of one split lies.

    Attributes:
        name: of the split.
        units: of work.
        manifest: the manifest, if it is one.
        num_records: utterances, bad ones too; 0 of shards, which have to be read for it.
    """

    name: str
    units: list[Unit]
    manifest: Manifest | None = None
    num_records: int = 0


def find_split(corpus: Path, name: str, *, unit_utterances: int, max_bad_share: float) -> Split | None:
    """The speech of a split, cut into units; None if the corpus has none of that name.

    Raises:
        UserError: a manifest with too many bad records, a folder that is neither Shar nor tarred audio.
    """
    if (corpus / f"{name}.jsonl").is_file():
        manifest = read_manifest(corpus / f"{name}.jsonl", max_bad_share)
        units = [
            Unit(f"{name}/{number:06d}", {"split": name, "manifest": str(manifest.path.absolute()), "ids": ids})
            for number, ids in enumerate(_by_length(manifest, unit_utterances))
        ]
        return Split(name, units, manifest, len(manifest.utterances) + len(manifest.bad))
    folder = (corpus / name).absolute()
    if not folder.is_dir():
        return None
    cuts = sorted(folder.glob("cuts.*.jsonl*"))
    if cuts:
        works: list[dict[str, Any]] = [{"split": name, "cuts": str(file), "audio": _audio_of(file)} for file in cuts]
    elif (folder / TARRED_MANIFEST).is_file() and (tars := sorted(folder.glob("*.tar"), key=_shard_id)):
        works = [{"split": name, "tar": str(tar), "manifest": str(folder / TARRED_MANIFEST)} for tar in tars]
    else:
        remedy = f"it must hold lhotse Shar (cuts.*.jsonl.gz) or tarred audio ({TARRED_MANIFEST}, *.tar)"
        raise UserError(str(folder), found="a folder without shards of speech", remedy=remedy)
    return Split(name, [Unit(f"{name}/{number:06d}", work) for number, work in enumerate(works)])


class UnitAudioReader:
    """Reads the utterances of units; a manifest is read once and kept for the next unit.

    Args:
        sample_rate: of what is read.
        room: that each utterance is recorded in.
        seed: of that.
    """

    def __init__(self, sample_rate: int, room: RoomConfig, seed: int) -> None:
        self.sample_rate, self.room, self.seed = sample_rate, room, seed
        self._manifests: dict[str, dict[str, Utterance]] = {}
        self._tarred: dict[str, _TarredManifest] = {}

    def read(self, unit: Unit) -> Iterator[AudioUtterance | BadRecord]:
        """The unit's utterances; one whose audio cannot be read comes as a `BadRecord`."""
        for one in self._read(unit):
            if isinstance(one, AudioUtterance):
                one = replace(one, audio=record_in_room(one.audio, one.id, self.room, self.seed))
            yield one

    def _read(self, unit: Unit) -> Iterator[AudioUtterance | BadRecord]:
        if "cuts" in unit.work:
            yield from self._read_shar(unit.work["cuts"], unit.work["audio"])
        elif "tar" in unit.work:
            yield from self._read_tar(unit.work["tar"], unit.work["manifest"])
        else:
            utterances = self._manifest(unit.work["manifest"])
            for id in unit.work["ids"]:
                utterance = utterances[id]
                yield with_samples(utterance, partial(read_audio, utterance.audio, self.sample_rate))

    def _manifest(self, path: str) -> dict[str, Utterance]:
        if path not in self._manifests:
            manifest = read_manifest(path, max_bad_share=1.0, should_check_audio=False)
            self._manifests[path] = {utterance.id: utterance for utterance in manifest.utterances}
        return self._manifests[path]

    def _read_shar(self, cuts: str, audio: str) -> Iterator[AudioUtterance | BadRecord]:
        from lhotse import CutSet

        for cut in CutSet.from_shar(fields={"cuts": [cuts], "recording": [audio]}):
            place = f"{cuts}, cut {cut.id}"
            try:
                channels_CS = cut.load_audio()
                samples = to_mono(channels_CS.T, cut.sampling_rate, place, self.sample_rate)
            except UserError as error:
                yield BadRecord(error.subject, error.found)
                continue
            except Exception as error:  # lhotse wraps what its many audio backends raise
                yield BadRecord(
                    place, f"not readable as audio ({str(error).splitlines()[0] if str(error) else error!r})"
                )
                continue
            label = cut.supervisions[0] if cut.supervisions else None
            kind = str((label.custom or {}).get("kind", "")) if label else ""
            text, speaker = (label.text or "", label.speaker or "") if label else ("", "")
            yield AudioUtterance(cut.id, text, speaker, (label.language if label else None) or "en", kind, samples)

    def _read_tar(self, tar: str, manifest: str) -> Iterator[AudioUtterance | BadRecord]:
        if manifest not in self._tarred:
            self._tarred[manifest] = _TarredManifest.read(Path(manifest))
        rows, bad = self._tarred[manifest].of_shard(_shard_id(Path(tar)))
        yield from bad
        missing = dict(rows)
        with tarfile.open(tar) as archive:
            for member in archive:
                utterance = missing.pop(member.name, None)
                content = archive.extractfile(member) if utterance is not None else None
                if utterance is None or content is None:
                    continue
                data, name = io.BytesIO(content.read()), f"{tar}, {member.name}"
                yield with_samples(utterance, partial(decode_audio, data, name, self.sample_rate))
        for name in missing:
            yield BadRecord(f"{tar}, {name}", "not in the archive")


def with_samples(utterance: Utterance, load: Callable[[], Samples]) -> AudioUtterance | BadRecord:
    """An utterance with the samples that ``load`` returns; a `BadRecord` where they cannot be read."""
    try:
        samples = load()
    except UserError as error:
        return BadRecord(error.subject, error.found)
    return AudioUtterance(utterance.id, utterance.text, utterance.speaker, utterance.lang, utterance.kind, samples)


@dataclass
class _TarredManifest:
    """The records of a tarred set by shard: file name in the tar -> utterance."""

    rows: dict[int, dict[str, Utterance]] = field(default_factory=dict)
    bad: dict[int, list[BadRecord]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> _TarredManifest:
        found = cls()
        with file.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                shard = 0
                try:
                    utterance = parse_record(line, file, number)
                    shard = int(json.loads(line).get("shard_id", 0))
                except ValueError as error:
                    found.bad.setdefault(shard, []).append(BadRecord(f"{file}, line {number}", str(error)))
                else:
                    name = utterance.audio.relative_to(file.parent).as_posix()
                    found.rows.setdefault(shard, {})[name] = utterance
        return found

    def of_shard(self, shard: int) -> tuple[dict[str, Utterance], list[BadRecord]]:
        return self.rows.get(shard, {}), self.bad.get(shard, [])


def _by_length(manifest: Manifest, size: int) -> Iterator[list[str]]:
    rows = sorted(manifest.utterances, key=lambda utterance: (utterance.duration, utterance.id))
    for start in range(0, len(rows), size):
        yield [utterance.id for utterance in rows[start : start + size]]


def _audio_of(cuts: Path) -> str:
    """The recordings' tar of a Shar shard."""
    tar = cuts.parent / (re.sub(r"^cuts\.(\d+)\.jsonl.*$", r"recording.\1.tar", cuts.name))
    if not tar.is_file():
        raise UserError(
            str(tar), found="no such file", remedy="a Shar needs the field 'recording' for each shard of cuts"
        )
    return str(tar)


def _shard_id(tar: Path) -> int:
    """The number in the name of a tar (``audio_17.tar``)."""
    digits = re.findall(r"\d+", tar.stem)
    return int(digits[-1]) if digits else 0
