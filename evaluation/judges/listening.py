"""What the judge hears in many audio files, in units that are done once, so that an interrupted evaluation goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtime.bulk.parallel_map import in_parallel
from runtime.stage import Run

from .closed_world import Judge

FILES_A_UNIT = 8


@dataclass(frozen=True)
class Listening:
    """One audio file to be judged; ``name`` is unique in an evaluation."""

    name: str
    audio: Path


@dataclass(frozen=True)
class TranscriptionWorker:
    """Transcribes audio files; each process loads the judge's recogniser once."""

    judge: Judge

    def __call__(self, listenings: Sequence[Listening]) -> dict[str, str]:
        """The transcript of each file by name."""
        return {listening.name: self.judge.transcribe_file(listening.audio) for listening in listenings}


def listen(judge: Judge, listenings: Sequence[Listening], run: Run, *, processes: int) -> dict[str, str]:
    """The judge's transcript of each file by name; ``<out>/heard`` keeps those that are done."""
    assert len({listening.name for listening in listenings}) == len(listenings)
    with run.progress(len(listenings), "judge listens", unit="file") as bar:
        folder = run.folder / "heard"
        return in_parallel(
            TranscriptionWorker(judge), listenings, folder, processes=processes, bar=bar, chunk=FILES_A_UNIT
        )
