"""Search for the clips of a speech corpus, or of a list of segments, in worker processes that open and check each once.

::

    <folder>/<name>/requests.jsonl     the segments asked for: a manifest's, or a caller's
                    000000.jsonl       a unit's clips and bad records, in order, until `ClipJob.tidy`
                    000000.tar         its segments of longer recordings, which no byte range of a file is

A unit is some requests, or a shard of lhotse's Shar or of NeMo's tars. Units are done once (`runtime.bulk`): a killed
search goes on, and its clips, tars and their order do not depend on the number of workers.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from runtime.artefact import atomic_path
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.unit import Unit
from runtime.bulk.unit_lines import read_unit_lines, write_unit_lines
from runtime.bulk.workers import ConfiguredWork, UnitFunction, check_failed
from runtime.stage import Run

from .audio.segments import AudioSegment
from .clip_job_config import ClipJobConfig
from .manifest import BadRecord
from .speech_clips import ClipRequest, FileRange, SegmentArchive, ShardReader, SpeechClip, place_clip, speech_shards

REQUESTS = "requests.jsonl"
FOUND, SEGMENTS = "jsonl", "tar"  # suffixes of a unit's files


class FoundClips(NamedTuple):
    """Result of a search: bad records of a manifest, and files of clips (`read_found`)."""

    bad: list[BadRecord]
    files: list[Path]


class ClipJob:
    """Searches for clips of at most ``max_seconds``.

    Args:
        folder: receives segments of longer recordings, and the units of the work.
        config: processes, and the size of a unit.
        run: shows the progress.
        max_seconds: longest clip.
    """

    def __init__(self, folder: Path, config: ClipJobConfig, run: Run, *, max_seconds: float) -> None:
        self.folder, self.config, self.run, self.max_seconds = folder, config, run, max_seconds

    def of_split(
        self, corpus: Path, split: str, *, kinds: Collection[str] = (), max_bad_share: float = 0.01
    ) -> Iterator[SpeechClip | BadRecord]:
        """The clips of a split, in its order; one that cannot be used comes as a `BadRecord`.

        Args:
            corpus: folder.
            split: name.
            kinds: of utterances; none: all.
            max_bad_share: of a manifest's lines.

        Raises:
            UserError: no such split, a manifest with too many bad lines, or a unit that failed.
        """
        found = self.search_split(corpus, split, kinds=kinds, max_bad_share=max_bad_share)
        yield from found.bad
        for file in found.files:
            yield from read_found(file)

    def search_split(
        self, corpus: Path, split: str, *, kinds: Collection[str] = (), max_bad_share: float = 0.01
    ) -> FoundClips:
        """As `of_split`: the manifest's bad records, and files of what was found, for `read_found`."""
        found = speech_shards(corpus.absolute(), split, kinds=kinds, max_bad_share=max_bad_share)
        if isinstance(found, list):
            return FoundClips([], self._find(split, [{"kinds": [*kinds], **shard} for shard in found]))
        asked = (ClipRequest(one.segment, one.id, one.text, one.kind) for one in found.utterances)
        return FoundClips(found.bad, self._find(split, self._requests(split, asked)))

    def of_requests(self, name: str, requests: Iterable[ClipRequest]) -> Iterator[SpeechClip | BadRecord]:
        """The clips of a caller's requests, one for each, in order.

        Args:
            name: of the list; the same requests under it in each call.
            requests: what to find.

        Raises:
            UserError: a unit that failed, or other requests than those of the call that this one resumes.
        """
        for file in self._find(name, self._requests(name, requests)):
            yield from read_found(file)

    def _requests(self, name: str, requests: Iterable[ClipRequest]) -> list[dict[str, Any]]:
        """Write a list of requests; returns the works of its units."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(folder / REQUESTS) as temporary, temporary.open("wb") as lines:
            parts = write_unit_lines(map(_line_of, requests), lines, self.config.unit_clips)
            return [{"requests": name, **asdict(part)} for part in parts]

    def tidy(self) -> None:
        """Remove everything but the segments."""
        for folder in self.folder.glob("*/"):
            for place in ("done", "journals", "failed", "leases"):
                shutil.rmtree(folder / place, ignore_errors=True)
            for file in (*folder.rglob(f"*.{FOUND}"), folder / "units.jsonl"):
                file.unlink(missing_ok=True)
            for numbered in folder.glob("*/"):
                if not any(numbered.iterdir()):
                    numbered.rmdir()
            if not any(folder.iterdir()):
                folder.rmdir()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _find(self, name: str, works: list[dict[str, Any]]) -> list[Path]:
        if not works:
            return []
        units = [Unit(f"{at:06d}", {"max_seconds": self.max_seconds, **work}) for at, work in enumerate(works)]
        job = UnitFolder.create(self.folder / name, units, self.config.bulk.lease_seconds)
        work = ConfiguredWork(str(job.root.absolute()), open_search)
        with self.run.progress(len(units), f"clips of {name}", start=job.num_done(), unit="unit") as bar:
            for _ in run_job(job, work, self.config.bulk, processes=self.config.processes):
                bar.update()
        check_failed(job, 0.0)  # whatever bulk.max_failed_share: a unit has a clip or a bad record for each request
        files = []
        for unit in job.units:
            job.path(unit, SEGMENTS)
            files.append(job.path(unit, FOUND))
        return files


def read_found(file: Path) -> Iterator[SpeechClip | BadRecord]:
    """The clips and bad records of one of a search's files, in order."""
    tar = file.with_suffix(f".{SEGMENTS}")
    with file.open(encoding="utf-8") as lines:
        yield from (_read_found(line, tar) for line in lines)


def open_search(folder: str, number: int) -> UnitFunction:
    """Prepare a worker on the job in ``folder``."""
    shards = ShardReader()

    def find(attempt: UnitAttempt) -> dict[str, Any]:
        count = bad = 0
        tar = attempt.path(SEGMENTS)
        with attempt.path(FOUND).open("w", encoding="utf-8") as lines, SegmentArchive(tar) as segments:
            work = attempt.unit.work
            is_list = "requests" in work
            for one in _of_requests(Path(folder), work, segments) if is_list else shards.clips(work, segments):
                count, bad = count + 1, bad + isinstance(one, BadRecord)
                lines.write(_found_line(one, tar))
        if not tar.exists():
            attempt.files.remove(SEGMENTS)
        return {"records": count, "bad": bad}

    return find


def _line_of(request: ClipRequest) -> list[Any]:
    """A request as plain data."""
    segment, *names = request
    return [str(segment.audio.absolute()), segment.offset, segment.duration, *names]


def _of_requests(folder: Path, work: dict[str, Any], segments: SegmentArchive) -> Iterator[SpeechClip | BadRecord]:
    for audio, offset, duration, *names in read_unit_lines(folder / REQUESTS, work["offset"], work["count"]):
        request = ClipRequest(AudioSegment(Path(audio), offset, duration), *names)
        yield place_clip(request, segments, work["max_seconds"])


def _found_line(one: SpeechClip | BadRecord, tar: Path) -> str:
    if isinstance(one, BadRecord):
        return json.dumps({"bad": [one.place, one.reason]}) + "\n"
    file, *place = one.place
    own = None if file == tar else str(file)  # the unit's own tar gets its name when the attempt is committed
    return json.dumps({"clip": [one.id, one.text, one.kind, one.length], "place": [own, *place]}) + "\n"


def _read_found(line: str, tar: Path) -> SpeechClip | BadRecord:
    record = json.loads(line)
    if "bad" in record:
        return BadRecord(*record["bad"])
    id, text, kind, length = record["clip"]
    file, *place = record["place"]
    return SpeechClip(id, text, kind, FileRange(tar if file is None else Path(file), *place), length)
