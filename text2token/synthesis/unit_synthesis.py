"""Workers of the bulk synthesis: a unit's texts -> one Parquet file of documents with spoken spans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from corpus.manifest import BadRecord
from lm.data.text_files import TextDocument, TextReader
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.workers import UnitFunction
from text2token.backends.table import open_backend
from text2token.speech_generation import SpeechBackend
from text2token.transcript_check import TranscriptCheck

from .config import SynthesizeConfig
from .plan import record_range
from .synthesiser import Synthesiser
from .unit_file import Fingerprints, SynthesisCounts, write_unit


@dataclass(frozen=True, kw_only=True)
class SynthesisWork:
    """The `runtime.bulk.workers.Work` of a synthesis.

    Attributes:
        config: the stage's options, with absolute paths of the model and the tokenizer.
        model_fingerprint: found once, for it may take reading the whole model.
    """

    config: SynthesizeConfig
    model_fingerprint: str

    def start(self, number: int) -> UnitFunction:
        """Load the model in worker ``number``."""
        torch.set_num_threads(self.config.threads)
        vocabulary = Vocabulary.from_pretrained(self.config.model)
        device = self.config.device(number)
        backend = self.open_backend(device, vocabulary)
        check = None
        if self.config.readback:
            check = TranscriptCheck(self.config.readback, self.config.readback_wer, vocabulary, device)
        synthesiser = Synthesiser(backend, vocabulary, self.config, check)
        reader = TextReader(self.config.columns)
        fingerprints = Fingerprints(vocabulary.fingerprint, vocabulary.speech_fingerprint, self.model_fingerprint)
        return lambda attempt: synthesise_unit(attempt, reader, synthesiser, fingerprints)

    def open_backend(self, device: str, vocabulary: Vocabulary) -> SpeechBackend:
        """The backend of a worker."""
        return open_backend(self.config.backend, self.config, device, vocabulary)


def synthesise_unit(
    attempt: UnitAttempt, reader: TextReader, synthesiser: Synthesiser, fingerprints: Fingerprints
) -> dict[str, Any]:
    """Write a unit's file; returns its `SynthesisCounts`, and the records left out as ``bad``."""
    documents: list[TextDocument] = []
    bad: list[BadRecord] = []
    for item in reader.read(record_range(attempt.unit)):
        if isinstance(item, TextDocument):
            documents.append(item)
        else:
            bad.append(item)
    spoken = synthesiser.synthesise(documents, attempt.unit.work["pass"])
    counts = SynthesisCounts()
    for document in spoken:
        counts.add(document)
    write_unit(attempt.path("parquet"), spoken, fingerprints, len(bad))
    return counts.record() | {"bad": [[record.place, record.reason] for record in bad]}
