"""Vectors of one unit of speech by a worker of ``tokenizer.features``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from corpus.features import FeatureUtterance, write_feature_index
from corpus.manifest import AudioUtterance, BadRecord
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import UnitFunction
from runtime.growing_array import growing_array
from tokenizer.hearing.base import SpeechEncoder
from tokenizer.hearing.load import load_encoder

from .bulk_speech import UnitAudioReader
from .config import FeaturesConfig
from .unit_encoder import grouped

SECONDS_AT_ONCE = 600  # of audio whose frames and vectors are in memory
FLOAT16 = np.dtype("<f2")


def open_feature_encoder(config: FeaturesConfig, number: int) -> UnitFunction:
    """The encoder of a worker process, with one thread (see `runtime.bulk.workers.ConfiguredWork`)."""
    torch.set_num_threads(1)
    encoder = load_encoder(config.encoder, config.layer, config.device)
    recordings = UnitAudioReader(encoder.sample_rate, config.room, config.seed, config.duration_tolerance)
    return lambda attempt: encode_unit_features(attempt, recordings, encoder, config.max_seconds)


def encode_unit_features(
    attempt: UnitAttempt, recordings: UnitAudioReader, encoder: SpeechEncoder, max_seconds: float
) -> dict[str, Any]:
    """Write a unit's shard and its part of the index; returns utterances, seconds of audio, positions, bad records."""
    bad: list[BadRecord] = []
    rate, shard = encoder.sample_rate, f"{attempt.unit.name}.npy"
    items: list[FeatureUtterance] = []
    with growing_array(attempt.path("npy"), FLOAT16, (encoder.width,)) as rows:
        usable = (checked(one, encoder, max_seconds) for one in recordings.read(attempt.unit))
        for group in grouped(usable, bad, rate * SECONDS_AT_ONCE):
            for one, vectors_TE in zip(group, half_vectors(encoder, group), strict=True):
                seconds = len(one.audio) / rate
                if not np.isfinite(vectors_TE).all():
                    bad.append(BadRecord(f"utterance {one.id}", "vectors that are not finite in float16"))
                    continue
                items.append(
                    FeatureUtterance(
                        one.id, one.text, seconds, one.speaker, one.lang, one.kind, shard, len(rows), len(vectors_TE)
                    )
                )
                rows.append(vectors_TE)
        num_rows = len(rows)
    write_feature_index(attempt.path("parquet"), [items])
    return {
        "utterances": len(items),
        "audio_seconds": sum(item.duration for item in items),
        "positions": num_rows,
        "bad": [[record.place, record.reason] for record in bad],
    }


def checked(one: AudioUtterance | BadRecord, encoder: SpeechEncoder, max_seconds: float) -> AudioUtterance | BadRecord:
    """An utterance, or a `BadRecord` of one that has no vector, or is too long."""
    if isinstance(one, BadRecord):
        return one
    seconds = len(one.audio) / encoder.sample_rate
    if not encoder.num_positions(len(one.audio)):
        return BadRecord(f"utterance {one.id}", f"{seconds:.3f} s of audio, too short for a vector")
    if seconds > max_seconds:
        return BadRecord(f"utterance {one.id}", f"{seconds:.1f} s of audio, above max_seconds={max_seconds:g}")
    return one


def half_vectors(encoder: SpeechEncoder, group: list[AudioUtterance]) -> Iterator[np.ndarray]:
    """The vectors (T, E) float16 of utterances."""
    with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is found
        for vectors_TE in encoder.encode([one.audio for one in group]):
            yield vectors_TE.numpy().astype(FLOAT16)
