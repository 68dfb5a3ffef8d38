"""Transcription of many audio files by the judge, in units that are kept, so that an interrupted evaluation goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.bulk.parallel_map import in_parallel
from runtime.stage import Run

from .closed_world import Judge

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
