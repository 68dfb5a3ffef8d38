"""Clips for an encoder: the positions that stand for a recording among the ids, and its reference in the side table.

The number of positions follows from the recording's samples by the encoder's own rule, divided by the connector's
stride and rounded up; it is fixed when a corpus is written (`lm.data.clips`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpus.features import FeatureUtterance, StoredFeatures
from corpus.speech_clips import FileRange
from runtime.errors import UserError

from .clips import AudioClip, ClipRecord, FeatureClip
from .formats import Codes
from .vector_config import VectorsConfig
from .vocabulary import Vocabulary


class VectorSpan(NamedTuple):
    """Speech of a document: the codes of its placeholders (T,), all 0, and its clip."""

    codes: Codes
    clip: AudioClip | FeatureClip


class EncodedClips:
    """References to recordings that an encoder hears in training.

    Args:
        config: ``encoder``, ``layer`` and ``stride`` are read.
        vocabulary: of the ids.

    Attributes:
        record: of the corpus's clips.

    Raises:
        UserError: no encoder there, or a vocabulary whose speech is not read as vectors.
    """

    def __init__(self, config: VectorsConfig, vocabulary: Vocabulary) -> None:
        from tokenizer.hearing.load import load_encoder  # torch, which corpora of tokens and stored vectors do not need

        check_vocabulary(vocabulary)
        encoder = load_encoder(config.encoder, config.layer)
        self.front_end = encoder.front_end
        self.record = ClipRecord(
            kind="audio",
            encoder=encoder.fingerprint,
            positions_per_second=encoder.positions_per_second,
            width=encoder.width,
            stride=config.stride,
            source=str(Path(config.encoder).absolute()),
            layer=encoder.layer,
        )

    def span(self, place: FileRange, num_samples: int) -> VectorSpan:
        """A recording as speech of a document.

        Args:
            place: of its audio.
            num_samples: S, at the encoder's sample rate.

        Raises:
            UserError: too short for one position.
        """
        positions = self.front_end.num_positions(num_samples)
        clip = AudioClip(place.file, place.offset, place.bytes, place.samples, positions)
        return vector_span(clip, self.record)


class StoredClips:
    """References to the stored vectors of a frozen encoder.

    Args:
        config: ``features`` and ``stride`` are read.
        vocabulary: of the ids.

    Attributes:
        features: output of tokenizer.features.
        record: of the corpus's clips.

    Raises:
        UserError: no features there, or a vocabulary whose speech is not read as vectors.
    """

    def __init__(self, config: VectorsConfig, vocabulary: Vocabulary) -> None:
        check_vocabulary(vocabulary)
        self.features = StoredFeatures(config.features)
        made = self.features.record
        self.record = ClipRecord(
            kind="features",
            encoder=made.encoder,
            positions_per_second=made.positions_per_second,
            width=made.width,
            stride=config.stride,
            source=made.source,
            layer=made.layer,
        )

    def span(self, utterance: FeatureUtterance) -> VectorSpan:
        """An utterance as speech of a document; raises a `UserError` where it has no vector."""
        file = self.features.file(utterance).absolute()
        return vector_span(FeatureClip(file, utterance.first, utterance.frames), self.record)


def open_clips(config: VectorsConfig, vocabulary: Vocabulary) -> EncodedClips | StoredClips:
    """The clips of the options: of stored vectors where ``features`` are named, else of recordings."""
    return StoredClips(config, vocabulary) if config.features else EncodedClips(config, vocabulary)


def absolute_vectors(config: VectorsConfig) -> VectorsConfig:
    """The options with absolute paths."""
    encoder, features = (path and str(Path(path).absolute()) for path in (config.encoder, config.features))
    return replace(config, encoder=encoder, features=features)


def vector_span(clip: AudioClip | FeatureClip, record: ClipRecord) -> VectorSpan:
    """A clip as speech of a document.

    Raises:
        UserError: it has no position.
    """
    count = record.num_placeholders(clip.positions)
    if not count:
        raise UserError(str(clip.file), found="too short for one vector of the encoder", remedy="leave it out")
    return VectorSpan(np.zeros(count, dtype=np.uint16), clip)


def check_vocabulary(vocabulary: Vocabulary) -> None:
    """Raise a `UserError` where speech is not read as vectors."""
    if vocabulary.num_speech_tokens != 1:
        found = f"a speech block of {vocabulary.num_speech_tokens} tokens, of a speech tokenizer's codes"
        raise UserError("the vocabulary", found=found, remedy="make one by lm.vocabulary num_speech_tokens=1")
