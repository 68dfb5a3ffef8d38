"""Speech input of a run, made of its options, its corpora and the checkpoint that it begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from megatron.core.optimizer import USING_PYTORCH_OPTIMIZER

from lm.data.clip_batches import (
    AudioReader,
    ClipCollation,
    ClipReader,
    CodeReader,
    FeatureReader,
    shortest_silence,
)
from lm.data.clips import ClipRecord
from lm.data.corpora import TRANSCRIPTS, CorpusInfo
from lm.data.loss_mask import Loss
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from tokenizer.hearing.base import SpeechEncoder
from tokenizer.hearing.load import load_encoder

from .parallel import ParallelConfig, is_first_stage
from .speech_config import DIVERGENCE, SpeechConfig, SpeechRecord
from .speech_input import SpeechInput

UNTRAINED_FORMATS = ("speech", "tts")  # their targets are speech
REMEDY = "leave it out, or train on speech tokens"


@dataclass(frozen=True, kw_only=True)
class SpeechSetup:
    """Speech input of a run.

    Attributes:
        config: the options.
        record: kind, shape and encoder.
        encoder: of recordings and codes; None of stored vectors, and on processes that hold no beginning of the model.
        vocabulary: of the corpora.
    """

    config: SpeechConfig
    record: SpeechRecord
    encoder: SpeechEncoder | None
    vocabulary: Vocabulary

    def build(self, hidden: int, *, is_sequence_parallel: bool) -> SpeechInput:
        """The model's submodule, of width ``hidden``."""
        return SpeechInput(
            self.record,
            self.encoder,
            hidden,
            is_sequence_parallel=is_sequence_parallel,
            is_shared=not self.is_tolerant,  # a clip may be unreadable to one process alone
        )

    def reader(self, corpus: CorpusInfo, split: str) -> ClipReader | None:
        """The reader of a split's clips, None of text alone."""
        if self.record.kind == "codes":
            return CodeReader(self.vocabulary)
        if corpus.clips is None or not corpus.splits[split].documents:
            return None
        table = corpus.clip_table(split)
        if self.record.kind == "features":
            return FeatureReader(table)
        return None if self.encoder is None else AudioReader(table, self.encoder.front_end)

    @property
    def is_tolerant(self) -> bool:
        """Whether some clips may be unreadable."""
        return self.config.max_unreadable_share > 0

    def collation(self) -> ClipCollation:
        """Collation of micro batches with their clips."""
        return ClipCollation(self.vocabulary, self._unused_clip(), is_tolerant=self.is_tolerant)

    def _unused_clip(self) -> npt.NDArray[Any]:
        if self.record.kind == "features":
            return np.zeros((1, self.record.width), dtype=np.float16)
        if self.record.kind == "codes":
            return np.zeros(1, dtype=np.int64)
        assert self.encoder is not None  # only the beginning of the model reads clips
        return shortest_silence(self.encoder.front_end)

    def losses(self, given: Mapping[str, str], corpora: Mapping[str, CorpusInfo]) -> dict[str, Loss]:
        """The targets of each corpus: speech that is read as vectors is none.

        Raises:
            UserError: a corpus or an option that asks for speech as a target.
        """
        found: dict[str, Loss] = {}
        for name, corpus in corpora.items():
            loss = given.get(name)
            if corpus.format in UNTRAINED_FORMATS:
                words = f"format {corpus.format}, whose targets are speech, which this run reads as vectors"
                raise UserError(f"corpus {name}", found=words, remedy=REMEDY)
            if loss in ("all", "speech") and any(one.speech_tokens > 0 for one in corpus.splits.values()):
                words = f"{loss}, but this run reads speech as vectors: it is no target"
                raise UserError(f"option losses.{name}", found=words, remedy="choose text_without_marks or text")
            found[name] = "text" if loss == "text" else "text_without_marks"
        return found

    @property
    def summary(self) -> str:
        """One line for the log."""
        record = self.record
        kinds = {"audio": "recordings", "features": "stored vectors", "codes": "codes"}
        connector = f"{record.connector.kind}, stride {record.connector.stride}"
        return (
            f"speech as vectors: {kinds[record.kind]}, encoder {record.encoder}, {record.width} wide, "
            f"{record.positions_per_second:g} a second; connector {connector}; trains {', '.join(self.config.train)}"
        )


def open_speech(
    config: SpeechConfig,
    corpora: Mapping[str, CorpusInfo],
    vocabulary: Vocabulary,
    parallel: ParallelConfig,
    begun: SpeechRecord | None,
) -> SpeechSetup | None:
    """The speech input of a run, None where no corpus has speech to read as vectors.

    Recordings need no encoder on later pipeline stages: the corpora say all that a checkpoint records of it.

    Args:
        config: the options.
        corpora: the run's.
        vocabulary: theirs.
        parallel: the layout.
        begun: the speech input of the checkpoint that the run begins with or goes on from.

    Raises:
        UserError: corpora that differ in encoder, connector or kind; another encoder than theirs; parts that cannot be
            trained; a layout that cannot be saved.
    """
    clips = {name: corpus.clips for name, corpus in corpora.items() if corpus.clips is not None}
    if config.source != "codes" and not clips:
        if config != SpeechConfig():
            remedy = "give corpora with clips, set speech.source=codes, or leave the options out"
            raise UserError("options speech.*", found="no corpus with clips (speech.json)", remedy=remedy)
        return None
    _check_layout(config, parallel)
    holds_encoder = "encoder" in config.train or (begun is not None and begun.holds_encoder)
    if config.source == "codes":
        encoder = load_encoder(config.encoder, config.layer)
        if encoder.codes_fingerprint != vocabulary.speech_fingerprint:
            found = f"codes of tokenizer {encoder.codes_fingerprint or 'none'}, the vocabulary's are of "
            remedy = "give the tokenizer that made the corpora's codes"
            raise UserError(config.encoder, found=found + vocabulary.speech_fingerprint, remedy=remedy)
        record = SpeechRecord(
            kind="codes",
            encoder=encoder.fingerprint,
            source=config.encoder,
            layer=encoder.layer,
            positions_per_second=encoder.positions_per_second,
            width=encoder.width,
            connector=config.connector,
            holds_encoder=holds_encoder,
        )
        return SpeechSetup(config=config, record=record, encoder=encoder, vocabulary=vocabulary)
    own = _common_record(clips)
    for name, corpus in corpora.items():
        if config.loss == DIVERGENCE and corpus.transcripts is None:
            found = f"no documents with the transcripts in place of the speech (no {TRANSCRIPTS}/), for speech.loss=kl"
            raise UserError(
                f"corpus {name}", found=found, remedy="write it by imitation.prepare, or set speech.loss=ce"
            )
        if corpus.clips is None and any(one.speech_tokens > 0 for one in corpus.splits.values()):
            found = "speech tokens and no clips (speech.json), beside corpora with clips"
            raise UserError(f"corpus {name}", found=found, remedy="write the corpus again, or leave it out")
    if own.stride != config.connector.stride:
        found = f"{config.connector.stride}, but the corpora have a place for every {own.stride} vectors"
        remedy = f"set it to {own.stride}, or write the corpora again"
        raise UserError("option speech.connector.stride", found=found, remedy=remedy)
    if own.kind == "features":
        return _of_features(config, own, vocabulary)
    source = config.encoder or own.source
    if not source:
        found = "no encoder, and none that the corpora name"
        raise UserError("option speech.encoder", found=found, remedy="give the encoder's artefact")
    hearing = _encoder_of(config, own, source) if is_first_stage(parallel) else None
    record = _record_of(own, config, source=source, holds_encoder=holds_encoder)
    return SpeechSetup(config=config, record=record, encoder=hearing, vocabulary=vocabulary)


def _encoder_of(config: SpeechConfig, own: ClipRecord, source: str) -> SpeechEncoder:
    """The encoder that the corpora were written for.

    Raises:
        UserError: ``source`` is another.
    """
    encoder = load_encoder(source, config.layer or own.layer)
    if encoder.fingerprint != own.encoder:
        found = f"encoder {encoder.fingerprint}, but the corpora were written for {own.encoder}"
        remedy = f"give their own ({own.source or 'its path'}, layer {own.layer or '?'}), or write the corpora again"
        raise UserError(source, found=found, remedy=remedy)
    return encoder


def _of_features(config: SpeechConfig, own: ClipRecord, vocabulary: Vocabulary) -> SpeechSetup:
    if "encoder" in config.train:
        remedy = "write corpora with recordings, or leave encoder out"
        raise UserError("option speech.train", found="encoder, but the corpora have stored vectors", remedy=remedy)
    record = _record_of(own, config, source=own.source, holds_encoder=False)
    return SpeechSetup(config=config, record=record, encoder=None, vocabulary=vocabulary)


def _record_of(own: ClipRecord, config: SpeechConfig, *, source: str, holds_encoder: bool) -> SpeechRecord:
    """The record of a model that reads the clips of these corpora."""
    return SpeechRecord(
        kind=own.kind,
        encoder=own.encoder,
        source=source,
        layer=own.layer,
        positions_per_second=own.positions_per_second,
        width=own.width,
        connector=config.connector,
        holds_encoder=holds_encoder,
    )


def _common_record(clips: Mapping[str, ClipRecord]) -> ClipRecord:
    """Kind, encoder, stride and width of all corpora with clips."""
    (first, own), *others = clips.items()
    for name, other in others:
        for field in ("kind", "encoder", "stride", "width"):
            if getattr(other, field) != getattr(own, field):
                found = f"{field} {getattr(other, field)}, but corpus {first} has {getattr(own, field)}"
                raise UserError(f"corpus {name}", found=found, remedy="give corpora of one kind, encoder and stride")
    return own


def _check_layout(config: SpeechConfig, parallel: ParallelConfig) -> None:
    is_bare = parallel.pipeline > 1 and "lm" not in config.train  # stages without any trained parameter
    if is_bare and parallel.distributed_optimizer and USING_PYTORCH_OPTIMIZER:
        found = (
            "true, with a frozen language model and pipeline stages: stages without trained parameters cannot be saved"
        )
        remedy = "set it to false (the trained parts are small), or install Transformer Engine or Apex"
        raise UserError("option parallel.distributed_optimizer", found=found, remedy=remedy)
