"""Spans in speech as clips: their positions among the ids, and their references, for the side table of a corpus."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from corpus.audio.archives import ClipPlace
from corpus.audio.files import SAMPLE_RATE
from corpus.speech_clips import FileRange
from lm.data.clips import AudioClip, ClipRecord, FeatureClip
from lm.data.vector_clips import EncodedClips, StoredClips, VectorSpan
from lm.data.vector_config import VectorsConfig
from lm.data.vocabulary import Vocabulary
from runtime.artefact import read_json
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.errors import UserError
from runtime.stage import input_fingerprint
from text2token.synthesis.unit_file import SpokenDocument, clip_key

Clip = AudioClip | FeatureClip
NO_VECTOR = "no_vector"  # verdict of a span whose audio has no vector (too short, or left out of the features)


class SpanVectors(Protocol):
    """Audio of spans as speech of documents.

    Attributes:
        record: of the corpus's clips.
    """

    record: ClipRecord

    def span(self, tar: Path, key: str, place: ClipPlace) -> VectorSpan | None:
        """The audio of a key at a place of a tar; None where it has no vector."""
        ...


class HeardSpans:
    """Spans that an encoder hears in training."""

    def __init__(self, config: VectorsConfig, vocabulary: Vocabulary) -> None:
        self.encoded = EncodedClips(config, vocabulary)
        self.record, self.max_seconds = self.encoded.record, config.max_seconds

    def span(self, tar: Path, key: str, place: ClipPlace) -> VectorSpan | None:
        """The audio in the tar; None where it is too short or too long."""
        if place.samples > self.max_seconds * SAMPLE_RATE:
            return None
        try:
            return self.encoded.span(FileRange(tar.absolute(), *place), place.samples)
        except UserError:  # too short
            return None


class StoredSpans:
    """Spans whose vectors are stored."""

    def __init__(self, config: VectorsConfig, vocabulary: Vocabulary) -> None:
        self.stored = StoredClips(config, vocabulary)
        self.record, self.max_seconds = self.stored.record, config.max_seconds
        features = self.stored.features
        self.utterances = {one.id: one for split in features.record.splits for one in features.utterances(split)}

    def span(self, tar: Path, key: str, place: ClipPlace) -> VectorSpan | None:
        """The vectors of a key; None where it was left out of the features.

        Raises:
            UserError: vectors of other audio.
        """
        found = self.utterances.get(key)
        if found is None or found.duration > self.max_seconds:
            return None
        if round(found.duration * SAMPLE_RATE) != place.samples:
            seconds = place.samples / SAMPLE_RATE
            where = f"{self.stored.features.folder}, utterance {key}"
            wrong = f"vectors of {found.duration:.3f} s, where {tar} has {seconds:.3f} s of audio"
            raise UserError(where, found=wrong, remedy="give an output of tokenizer.features on the folder to pack")
        return self.stored.span(found)


def open_vectors(config: VectorsConfig, vocabulary: Vocabulary) -> SpanVectors:
    """The encoder, or the stored vectors, of the options."""
    return StoredSpans(config, vocabulary) if config.features else HeardSpans(config, vocabulary)


def as_clips(documents: Sequence[SpokenDocument], unit: Unit, tar: Path, vectors: SpanVectors) -> list[dict[int, Clip]]:
    """Give good spans the codes of their placeholders; returns the clips of each document by their spans' starts."""
    found: list[dict[int, Clip]] = []
    for number, document in enumerate(documents):
        clips: dict[int, Clip] = {}
        for at, span in enumerate(document.spans):
            if span.clip is None:
                continue
            speech = vectors.span(tar, clip_key(unit.name, number, at), span.clip)
            if speech is None:
                document.spans[at] = dataclasses.replace(span, verdict=NO_VECTOR, clip=None)
            else:
                document.spans[at] = dataclasses.replace(span, tokens=speech.codes)
                clips[span.start] = speech.clip
        found.append(clips)
    return found


def has_audio(synthesis: UnitFolder) -> bool:
    """Whether the units of a synthesis hold audio."""
    return any("tar" in record.files for _, record in synthesis.records())


def check_vectors(synthesis: UnitFolder, config: VectorsConfig) -> None:
    """Raise a `UserError` unless vectors are given where, and only where, the synthesis is of audio."""
    is_audio = has_audio(synthesis)
    if is_audio and not config.is_given:
        remedy = "give vectors.encoder, or vectors.features of tokenizer.features on this folder"
        raise UserError(str(synthesis.root), found="audio of text2token.aloud", remedy=remedy)
    if config.features:
        inputs = read_json(Path(config.features) / "run.json")["inputs"].values()
        if input_fingerprint(synthesis.root) not in inputs:
            remedy = f"give an output of tokenizer.features corpus={synthesis.root}"
            raise UserError(config.features, found=f"features of other speech than {synthesis.root}", remedy=remedy)
    if config.is_given and not is_audio:
        remedy = "leave vectors.* out (lm.train reads these codes as vectors with speech.source=codes)"
        raise UserError(str(synthesis.root), found="speech tokens of text2token.synthesize", remedy=remedy)
