"""Speech in bulk as units of work: NeMo manifests, lhotse Shar, and NeMo's tarred audio.

::

    <corpus>/<split>.jsonl                                     a manifest; units are some utterances of like length
    <corpus>/<split>/cuts.000000.jsonl.gz recording.000000.tar Shar; a unit is a shard
    <corpus>/<split>/NAME.cuts.jsonl NAME.tar                  the same, as `corpus.audio.archives` writes it
    <corpus>/<split>/audio_0.tar tarred_audio_manifest.json    tarred audio (``shard_id``); a unit is a tar
"""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from corpus.audio.archives import CUTS_SUFFIX
from corpus.audio.files import Samples, to_mono
from corpus.audio.room_simulation import RoomConfig, record_in_room
from corpus.audio.segments import DURATION_TOLERANCE, read_segment
from corpus.manifest import AudioUtterance, BadRecord, Manifest, Utterance, read_manifest
from corpus.speech_clips import audio_of_cuts
from corpus.tarred_manifest import TARRED_MANIFEST, TarredManifest, shard_number
from runtime.bulk.unit import Unit
from runtime.errors import UserError

OVERLAP = 0.01  # seconds by which neighbouring supervisions may overlap: rounding of their times


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


def find_split(
    corpus: Path, name: str, *, kinds: Collection[str] = (), unit_utterances: int, max_bad_share: float
) -> Split | None:
    """The speech of a split, cut into units; None if the corpus has none of that name.

    Args:
        corpus: folder.
        name: of the split.
        kinds: of the utterances of a manifest; none: all.
        unit_utterances: utterances of a unit of a manifest.
        max_bad_share: largest share of bad records.

    Raises:
        UserError: a manifest with too many bad records or none of those kinds, a folder that is neither Shar nor tarred
            audio, or kinds of one.
    """
    if (corpus / f"{name}.jsonl").is_file():
        manifest = read_manifest(corpus / f"{name}.jsonl", max_bad_share, needs_text=False).of_kinds(kinds)
        units = [
            Unit(f"{name}/{number:06d}", {"split": name, "manifest": str(manifest.path.absolute()), "ids": ids})
            for number, ids in enumerate(_by_length(manifest, unit_utterances))
        ]
        return Split(name, units, manifest, len(manifest.utterances) + len(manifest.bad))
    folder = (corpus / name).absolute()
    if not folder.is_dir():
        return None
    if kinds:
        remedy = "leave kinds out: shards are encoded whole"
        raise UserError("option kinds", found=f"shards of speech in {folder}", remedy=remedy)
    cuts = sorted([*folder.glob("cuts.*.jsonl*"), *folder.glob(f"*{CUTS_SUFFIX}")])
    if cuts:
        works: list[dict[str, Any]] = [
            {"split": name, "cuts": str(file), "audio": str(audio_of_cuts(file))} for file in cuts
        ]
    elif (folder / TARRED_MANIFEST).is_file() and (tars := sorted(folder.glob("*.tar"), key=shard_number)):
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
        tolerance: seconds by which the length of a recording may differ from the manifest's duration.
    """

    def __init__(self, sample_rate: int, room: RoomConfig, seed: int, tolerance: float = DURATION_TOLERANCE) -> None:
        self.tolerance = tolerance
        self.sample_rate, self.room, self.seed = sample_rate, room, seed
        self._manifests: dict[str, dict[str, Utterance]] = {}
        self._tarred: dict[str, TarredManifest] = {}

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
                read = partial(read_segment, utterance.segment, self.sample_rate, tolerance=self.tolerance)
                yield with_samples(utterance, read)

    def _manifest(self, path: str) -> dict[str, Utterance]:
        if path not in self._manifests:
            manifest = read_manifest(path, max_bad_share=1.0, should_check_audio=False, needs_text=False)
            self._manifests[path] = {utterance.id: utterance for utterance in manifest.utterances}
        return self._manifests[path]

    def _read_shar(self, cuts: str, audio: str) -> Iterator[AudioUtterance | BadRecord]:
        from lhotse import CutSet

        for cut in CutSet.from_shar(fields={"cuts": [cuts], "recording": [audio]}):
            try:
                parts = supervised_parts(cut)
            except ValueError as error:
                yield BadRecord(f"{cuts}, cut {cut.id}", str(error))
                continue
            for part in parts:
                yield self._read_cut(part, f"{cuts}, cut {part.id}")

    def _read_cut(self, cut: Any, place: str) -> AudioUtterance | BadRecord:
        """A lhotse cut with at most one supervision; one that ends after its recording is cut there."""
        recording = getattr(cut, "recording", None)
        if recording is not None and (missing := cut.end - recording.duration) > 0:
            available = cut.duration - missing
            if missing > self.tolerance:
                found = f"{available:.3f} s of audio, but a duration of {cut.duration:.3f} s in the record"
                return BadRecord(place, found)
            cut = cut.truncate(duration=available, preserve_id=True)  # lhotse would fill up with the sound mirrored
        try:
            channels_CS = cut.load_audio()
            samples = to_mono(channels_CS.T, cut.sampling_rate, place, self.sample_rate)
        except UserError as error:
            return BadRecord(error.subject, error.found)
        except Exception as error:  # lhotse wraps what its many audio backends raise
            return BadRecord(place, f"not readable as audio ({str(error).splitlines()[0] if str(error) else error!r})")
        label = cut.supervisions[0] if cut.supervisions else None
        kind = str((label.custom or {}).get("kind", "")) if label else ""
        text, speaker = (label.text or "", label.speaker or "") if label else ("", "")
        return AudioUtterance(cut.id, text, speaker, (label.language if label else None) or "en", kind, samples)

    def _read_tar(self, tar: str, manifest: str) -> Iterator[AudioUtterance | BadRecord]:
        if manifest not in self._tarred:
            self._tarred[manifest] = TarredManifest.read(Path(manifest))
        tarred = self._tarred[manifest]
        rows, bad = tarred.of_shard(shard_number(Path(tar)))
        yield from bad
        missing = dict(rows)
        with tarfile.open(tar) as archive:
            for member in archive:
                if not member.isfile() or not (utterances := missing.pop(tarred.name_of(member.name), [])):
                    continue
                stream = archive.extractfile(member)
                assert stream is not None  # a regular file
                content = stream.read()
                for utterance in utterances:
                    read = partial(
                        read_segment,
                        utterance.segment,
                        self.sample_rate,
                        tolerance=self.tolerance,
                        content=io.BytesIO(content),
                        name=f"{tar}, {member.name}",
                    )
                    yield with_samples(utterance, read)
        for name, utterances in missing.items():
            yield from (BadRecord(f"{tar}, {name}", "not in the archive") for _ in utterances)


def supervised_parts(cut: Any) -> list[Any]:
    """A lhotse cut as it is, or cut into its supervisions where it has several.

    Raises:
        ValueError: the supervisions overlap, so that one's audio would hold another's words.
    """
    labels = sorted(cut.supervisions, key=lambda label: float(label.start))
    if len(labels) < 2:
        return [cut]
    for one, following in itertools.pairwise(labels):
        if following.start < one.end - OVERLAP:
            raise ValueError(f"supervisions {one.id} and {following.id} overlap")
    return list(cut.trim_to_supervisions(keep_overlapping=False))


def with_samples(utterance: Utterance, load: Callable[[], Samples]) -> AudioUtterance | BadRecord:
    """An utterance with the samples that ``load`` returns; a `BadRecord` where they cannot be read."""
    try:
        samples = load()
    except UserError as error:
        return BadRecord(error.subject, error.found)
    return AudioUtterance(utterance.id, utterance.text, utterance.speaker, utterance.lang, utterance.kind, samples)


def _by_length(manifest: Manifest, size: int) -> Iterator[list[str]]:
    rows = sorted(manifest.utterances, key=lambda utterance: (utterance.duration, utterance.id))
    for start in range(0, len(rows), size):
        yield [utterance.id for utterance in rows[start : start + size]]
