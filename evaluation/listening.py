"""What the judge hears in many audio files, kept in a journal so that an interrupted evaluation goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.journal import Journal
from corpus.stage import Run

from .judge import Judge


@dataclass(frozen=True)
class Listening:
    """One audio file to be judged; ``name`` is unique in an evaluation."""

    name: str
    audio: Path


def listen(judge: Judge, listenings: Sequence[Listening], run: Run, *, processes: int) -> dict[str, str]:
    """The judge's transcript of each file by name; ``<out>/heard.jsonl`` holds those that are done."""
    assert len({listening.name for listening in listenings}) == len(listenings)
    with Journal(run.folder / "heard.jsonl") as journal:
        heard = {str(record["name"]): str(record["text"]) for record in journal.records}
        left = [listening for listening in listenings if listening.name not in heard]
        with run.progress(len(listenings), "judge listens", start=len(listenings) - len(left), unit="file") as bar:
            texts = judge.transcribe_files([listening.audio for listening in left], processes)
            for listening, text in zip(left, texts, strict=True):
                journal.append({"name": listening.name, "text": text})
                heard[listening.name] = text
                bar.update()
    return heard
