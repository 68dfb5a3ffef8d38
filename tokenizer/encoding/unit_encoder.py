"""Encoding of one unit of speech by a worker of ``tokenizer.encode``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from corpus.manifest import AudioUtterance, BadRecord
from corpus.tokens import TokenisedUtterance, write_tokens
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import UnitFunction
from tokenizer.model import SpeechTokenizer

from .bulk_speech import UnitAudioReader
from .config import EncodeConfig

SECONDS_AT_ONCE = 1800  # of audio in memory: a shard may hold many hours


def open_encoder(config: EncodeConfig, number: int) -> UnitFunction:
    """The encoder of a worker process, with one thread (see `runtime.bulk.workers.ConfiguredWork`)."""
    torch.set_num_threads(1)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer, config.device)
    tokenizer.require_codebook()
    recordings = UnitAudioReader(tokenizer.sample_rate, config.room, config.seed, config.duration_tolerance)
    return lambda attempt: encode_unit(attempt, recordings, tokenizer)


def encode_unit(attempt: UnitAttempt, recordings: UnitAudioReader, tokenizer: SpeechTokenizer) -> dict[str, Any]:
    """Write a unit's Parquet file; returns utterances, seconds of audio, tokens, and the records left out."""
    bad: list[BadRecord] = []
    items: list[TokenisedUtterance] = []
    for group in grouped(recordings.read(attempt.unit), bad, tokenizer.sample_rate * SECONDS_AT_ONCE):
        tokens = tokenizer.encode([one.audio for one in group])
        items += [
            TokenisedUtterance(
                one.id, codes, one.text, len(one.audio) / tokenizer.sample_rate, one.speaker, one.lang, one.kind
            )
            for one, codes in zip(group, tokens, strict=True)
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


def grouped(
    items: Iterable[AudioUtterance | BadRecord], bad: list[BadRecord], most_samples: int
) -> Iterator[list[AudioUtterance]]:
    """Utterances in groups of at most ``most_samples`` samples, or of one utterance; bad records go to ``bad``."""
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
