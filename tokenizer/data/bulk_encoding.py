"""What a worker of the bulk encoding does with a unit, and the putting together of what all of them wrote."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.audio.room_simulation import RoomConfig
from corpus.manifest import AudioUtterance, BadRecord
from corpus.tokens import TokenisedUtterance, read_tokens, write_tokens
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder

from .bulk_speech import Split, UnitAudioReader

if TYPE_CHECKING:
    from tokenizer.model import SpeechTokenizer

SECONDS_AT_ONCE = 1800  # of audio in memory: a shard may hold many hours


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """All that a worker needs, as plain data (a `runtime.bulk.workers.Work`).

    Attributes:
        tokenizer: artefact folder.
        device: where to encode.
        room: that utterances are recorded in before (`corpus.audio.room_simulation`).
        seed: of that.
        threads: of torch, in each process.
    """

    tokenizer: str
    device: str
    room: RoomConfig = field(default_factory=RoomConfig)
    seed: int = 1
    threads: int = 1

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
        """Load the tokenizer."""
        import torch

        from tokenizer.model import SpeechTokenizer

        torch.set_num_threads(self.threads)
        tokenizer = SpeechTokenizer.from_pretrained(self.tokenizer, self.device)
        tokenizer.require_codebook()
        recordings = UnitAudioReader(tokenizer.sample_rate, self.room, self.seed)
        return lambda attempt: encode_unit(attempt, recordings, tokenizer)


def encode_unit(attempt: UnitAttempt, recordings: UnitAudioReader, tokenizer: SpeechTokenizer) -> dict[str, Any]:
    """Write a unit's Parquet file; returns utterances, seconds of audio, tokens, and the records left out."""
    bad: list[BadRecord] = []
    items: list[TokenisedUtterance] = []
    for spoken in _groups(recordings.read(attempt.unit), bad, tokenizer.sample_rate * SECONDS_AT_ONCE):
        tokens = tokenizer.encode([one.audio for one in spoken])
        items += [
            TokenisedUtterance(
                one.id, codes, one.text, len(one.audio) / tokenizer.sample_rate, one.speaker, one.lang, one.kind
            )
            for one, codes in zip(spoken, tokens, strict=True)
        ]
    write_tokens(
        attempt.path("parquet"),
        items,
        tokenizer=tokenizer.fingerprint,
        codebook_size=tokenizer.codebook_size,
        frame_rate=tokenizer.frame_rate,
    )
    return {
        "utterances": len(items),
        "audio_seconds": sum(item.duration for item in items),
        "tokens": sum(len(item.tokens) for item in items),
        "bad": [[record.place, record.reason] for record in bad],
    }


def _groups(
    items: Iterable[AudioUtterance | BadRecord], bad: list[BadRecord], most_samples: int
) -> Iterator[list[AudioUtterance]]:
    """Utterances in groups of so many samples together; bad ones go to ``bad``."""
    group: list[AudioUtterance] = []
    size = 0
    for item in items:
        if isinstance(item, BadRecord):
            bad.append(item)
            continue
        if group and size + len(item.audio) > most_samples:
            yield group
            group, size = [], 0
        group.append(item)
        size += len(item.audio)
    if group:
        yield group


def join_split(split: Split, job: UnitFolder, folder: Path) -> None:
    """The tokens of a split: in the manifest's order as ``<split>.parquet``, else shard by shard in ``<split>/``."""
    done = job.done_names()
    parts = [job.path(unit, "parquet") for unit in split.units if unit.name in done]
    if split.manifest is None:
        (folder / split.name).mkdir(exist_ok=True)
        for part in parts:
            with contextlib.suppress(FileExistsError):  # of a call that was killed here
                os.link(part, folder / split.name / part.name)
        return
    speech = [read_tokens(part) for part in parts]
    by_id = {item.id: item for part in speech for item in part.items}
    write_tokens(
        folder / f"{split.name}.parquet",
        [by_id[utterance.id] for utterance in split.manifest.utterances if utterance.id in by_id],
        tokenizer=speech[0].tokenizer,
        codebook_size=speech[0].codebook_size,
        frame_rate=speech[0].frame_rate,
    )
