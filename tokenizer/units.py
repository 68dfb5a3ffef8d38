"""Bulk encoding in units of work that are finished once: a unit is done when its part file exists."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from corpus.artefact import write_text
from corpus.audio import read_audio
from corpus.errors import UserError
from corpus.manifest import BadRecord, Manifest, Utterance
from corpus.tokens import TokenisedSpeech, TokenisedUtterance, read_tokens, write_tokens
from corpus.workers import end_with_parent

from .model import SpeechTokenizer


@dataclass(frozen=True)
class Unit:
    """Some utterances of like length, and the file that holds their tokens when done.

    Attributes:
        split: the manifest's name.
        utterances: to encode.
        part: the unit's Parquet file; bad recordings are listed beside it (``.bad.json``).
        device: where to encode.
    """

    split: str
    utterances: list[Utterance]
    part: Path
    device: str

    @property
    def bad_file(self) -> Path:
        """The list of recordings that could not be read."""
        return self.part.with_suffix(".bad.json")

    def bad_records(self) -> list[BadRecord]:
        """The recordings that could not be read; the unit must be done."""
        return [BadRecord(**record) for record in json.loads(self.bad_file.read_text(encoding="utf-8"))]


def cut_units(manifest: Manifest, size: int, folder: Path, device: str) -> list[Unit]:
    """Cut a manifest, sorted by length, into units of ``size`` utterances."""
    rows = sorted(manifest.utterances, key=lambda utterance: (utterance.duration, utterance.id))
    split = manifest.path.stem
    return [
        Unit(split, rows[start : start + size], folder / f"{split}-{number:06d}.parquet", device)
        for number, start in enumerate(range(0, len(rows), size))
    ]


def encode_units(units: list[Unit], tokenizer: str, processes: int) -> Iterator[Unit]:
    """Encode units, in this process or in several; yields each as it is done."""
    if processes == 1 or len(units) <= 1:
        worker = UnitWorker(tokenizer)
        for unit in units:
            worker.encode(unit)
            yield unit
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads half alive
    with ProcessPoolExecutor(min(processes, len(units)), context, start_worker, (tokenizer,)) as pool:
        pending: dict[Future[None], Unit] = {pool.submit(encode_in_worker, unit): unit for unit in units}
        try:
            for finished in as_completed(pending):
                finished.result()
                yield pending[finished]
        except BrokenProcessPool as error:
            found = "a worker process was killed (by the system, where memory ran out?)"
            raise UserError("option processes", found=found, remedy="call again, with fewer processes") from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class UnitWorker:
    """Encodes units with one loaded tokenizer."""

    def __init__(self, tokenizer: str) -> None:
        self.folder = tokenizer
        self.loaded: dict[str, SpeechTokenizer] = {}

    def encode(self, unit: Unit) -> None:
        """Encode a unit and write its files; the part file comes last."""
        if unit.device not in self.loaded:
            self.loaded[unit.device] = SpeechTokenizer.from_pretrained(self.folder, unit.device)
        tokenizer = self.loaded[unit.device]
        good, audios, bad = [], [], []
        for utterance in unit.utterances:
            try:
                audios.append(read_audio(utterance.audio, tokenizer.sample_rate))
                good.append(utterance)
            except UserError as error:
                bad.append({"place": error.subject, "reason": error.found})
        items = [
            TokenisedUtterance(
                said.id, tokens, said.text, len(audio) / tokenizer.sample_rate, said.speaker, said.lang, said.kind
            )
            for said, audio, tokens in zip(good, audios, tokenizer.encode(audios), strict=True)
        ]
        write_text(unit.bad_file, json.dumps(bad))
        write_tokens(
            unit.part,
            items,
            tokenizer=tokenizer.fingerprint,
            codebook_size=tokenizer.codebook_size,
            frame_rate=tokenizer.frame_rate,
        )


WORKER: list[UnitWorker] = []  # of a worker process


def start_worker(tokenizer: str) -> None:
    """Make ready a worker process: one thread, one loaded tokenizer."""
    import torch

    end_with_parent()
    torch.set_num_threads(1)
    WORKER.append(UnitWorker(tokenizer))


def encode_in_worker(unit: Unit) -> None:
    """Encode a unit in a worker process."""
    WORKER[0].encode(unit)


def join_units(manifest: Manifest, units: list[Unit], folder: Path) -> TokenisedSpeech:
    """Put the parts of a manifest together in its order, as ``<folder>/<split>.parquet``."""
    split = manifest.path.stem
    parts = [read_tokens(unit.part) for unit in units if unit.split == split]
    by_id = {item.id: item for part in parts for item in part.items}
    items = [by_id[utterance.id] for utterance in manifest.utterances if utterance.id in by_id]
    first = parts[0]
    write_tokens(
        folder / f"{split}.parquet",
        items,
        tokenizer=first.tokenizer,
        codebook_size=first.codebook_size,
        frame_rate=first.frame_rate,
    )
    return TokenisedSpeech(items, first.tokenizer, first.codebook_size, first.frame_rate)
