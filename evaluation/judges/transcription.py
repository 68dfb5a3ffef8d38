"""Transcription of many audio files by judges and recognisers, kept as it goes on: a kill loses no finished work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.bulk.parallel_map import in_parallel
from runtime.journal import Journal
from runtime.stage import Run

from .closed_world import Judge
from .recognisers import Recogniser

FILES_A_UNIT = 8


@dataclass(frozen=True)
class AudioItem:
    """One audio file to transcribe; ``name`` is unique in an evaluation."""

    name: str
    audio: Path


@dataclass(frozen=True)
class TranscriptionWorker:
    """Transcribes audio files; each process loads the judge's recogniser once."""

    judge: Judge

    def __call__(self, items: Sequence[AudioItem]) -> dict[str, str]:
        """The transcript of each file by name."""
        return {item.name: self.judge.transcribe_file(item.audio) for item in items}


def transcribe_all(judge: Judge, items: Sequence[AudioItem], run: Run, *, processes: int) -> dict[str, str]:
    """The judge's transcript of each file by name; ``<out>/heard`` keeps finished units."""
    assert len({item.name for item in items}) == len(items)
    with run.progress(len(items), "judge transcribes", unit="file") as bar:
        folder = run.folder / "heard"
        return in_parallel(TranscriptionWorker(judge), items, folder, processes=processes, bar=bar, chunk=FILES_A_UNIT)


def transcribe_kept(
    ids: Sequence[str], file_of: Callable[[str], Path], recogniser: Recogniser, run: Run, journal_name: str, words: str
) -> dict[str, str]:
    """Transcripts by id, those of an earlier call included.

    Args:
        ids: unique; the same in each call, so that files are heard in the same company.
        file_of: the audio file of an id.
        recogniser: hears ``batch`` files at once.
        run: shows the progress, and keeps the transcripts.
        journal_name: of the file in the run folder that keeps them.
        words: of the progress bar.
    """
    with Journal(run.folder / journal_name) as journal:
        texts = {str(record["id"]): str(record["text"]) for record in journal.records}
        done = sum(id in texts for id in ids)
        with run.progress(len(ids), words, start=done, unit="file") as bar:
            for start in range(0, len(ids), recogniser.batch):
                part = ids[start : start + recogniser.batch]
                left = [id for id in part if id not in texts]
                if left:
                    heard = dict(zip(part, recogniser.transcribe([file_of(id) for id in part]), strict=True))
                    journal.append(*({"id": id, "text": heard[id]} for id in left))
                    texts |= {id: heard[id] for id in left}
                    bar.update(len(left))
    return texts
