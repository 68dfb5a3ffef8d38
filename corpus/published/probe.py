"""Audio of a corpus' records: each file opened, its length taken, segments checked against it, shards written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.audio.archives import CUTS_SUFFIX, cut_line, write_archive
from corpus.audio.files import SAMPLE_RATE, AudioInfo, audio_info
from corpus.audio.frame_rate import SAMPLES_PER_TOKEN
from corpus.audio.segments import DURATION_TOLERANCE, read_segment
from corpus.manifest import BadRecord, Utterance, manifest_line
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.unit_lines import read_unit_lines
from runtime.bulk.workers import UnitFunction
from runtime.errors import UserError

from .records import ListedUtterance

LISTED = "listed.jsonl"
LINES, TAR, CUTS = "jsonl", "tar", CUTS_SUFFIX.removeprefix(".")  # suffixes of a unit's files
SHORTEST = SAMPLES_PER_TOKEN / SAMPLE_RATE  # seconds: one token


@dataclass(frozen=True)
class ProbeWork:
    """The work on a split.

    Attributes:
        folder: of its units, with the list of its records.
        sample_rate: of the shards that are written, in Hz; None: lines of a manifest are.
    """

    folder: str
    sample_rate: int | None


def open_probe(work: ProbeWork, number: int) -> UnitFunction:
    """Prepare a worker."""
    write = write_lines if work.sample_rate is None else write_shard

    def probe(attempt: UnitAttempt) -> dict[str, Any]:
        bad: list[BadRecord] = []
        records = _records(Path(work.folder), attempt.unit.work, bad)
        utterances, seconds, speakers = 0, 0.0, set()
        for one in write(records, attempt, work.sample_rate, bad):
            utterances, seconds = utterances + 1, seconds + one.duration
            speakers.add(one.speaker)
        listed = [[one.place, one.reason] for one in bad]
        return {"utterances": utterances, "seconds": seconds, "speakers": sorted(speakers), "bad": listed}

    return probe


def _records(folder: Path, work: dict[str, Any], bad: list[BadRecord]) -> Iterator[ListedUtterance]:
    """The unit's records; those that were bad when they were listed go to ``bad``."""
    for row in read_unit_lines(folder / LISTED, work["offset"], work["count"]):
        if len(row) == 2:
            bad.append(BadRecord(*row))
        else:
            place, id, audio, *rest = row
            yield ListedUtterance(place, id, Path(audio), *rest)


def write_lines(
    records: Iterator[ListedUtterance], attempt: UnitAttempt, sample_rate: int | None, bad: list[BadRecord]
) -> Iterator[Utterance]:
    """Write the unit's lines of a manifest; yields what was written."""
    info = _last_info()
    with attempt.path(LINES).open("w", encoding="utf-8") as lines:
        for record in records:
            try:
                utterance = utterance_of(record, info(record.audio))
            except UserError as error:
                bad.append(_bad(record, error))
                continue
            lines.write(manifest_line(utterance, str(utterance.audio)))
            yield utterance


def write_shard(
    records: Iterator[ListedUtterance], attempt: UnitAttempt, sample_rate: int | None, bad: list[BadRecord]
) -> Iterator[Utterance]:
    """Write the unit's shard at ``sample_rate``; yields what was written."""
    assert sample_rate is not None
    info = _last_info()
    with ExitStack() as stack:
        archive = stack.enter_context(write_archive(attempt.path(TAR), sample_rate))
        cuts = stack.enter_context(attempt.path(CUTS).open("w", encoding="utf-8"))
        for record in records:
            try:
                utterance = utterance_of(record, info(record.audio))
                audio = read_segment(utterance.segment, sample_rate)
            except UserError as error:
                bad.append(_bad(record, error))
                continue
            samples = archive.add(utterance.id, audio).samples
            about = {"text": utterance.text, "speaker": utterance.speaker, "lang": utterance.lang}
            cuts.write(cut_line(utterance.id, samples, rate=sample_rate, **about))
            yield utterance


def utterance_of(record: ListedUtterance, info: AudioInfo) -> Utterance:
    """The utterance of a record whose audio has this header.

    Raises:
        UserError: a segment that ends after the audio, or less than a token of audio.
    """
    name, offset, duration = str(record.audio), record.offset, info.duration
    if offset is not None:
        assert record.duration is not None, "a segment has a duration"
        duration = min(record.duration, info.duration - offset)
        if offset < 0 or duration < record.duration - DURATION_TOLERANCE:
            found = f"a segment from {offset:g} s to {offset + record.duration:g} s of {info.duration:.3f} s of audio"
            raise UserError(name, found=found, remedy="unpack the recording again")
    if duration < SHORTEST:
        raise UserError(name, found=f"only {duration:.3f} s of audio", remedy="leave it out")
    return Utterance(
        id=record.id,
        audio=record.audio,
        duration=duration,
        text=record.text,
        speaker=record.speaker,
        lang=record.lang,
        offset=offset,
    )


def _last_info() -> Callable[[Path], AudioInfo]:
    """`audio_info` that keeps its last answer: the segments of a recording follow each other."""
    last: dict[Path, AudioInfo] = {}

    def info(audio: Path) -> AudioInfo:
        if audio not in last:
            found = audio_info(audio)
            last.clear()
            last[audio] = found
        return last[audio]

    return info


def _bad(record: ListedUtterance, error: UserError) -> BadRecord:
    reason = error.found if error.subject in record.place else f"{error.subject}: {error.found}"
    return BadRecord(record.place, reason)
