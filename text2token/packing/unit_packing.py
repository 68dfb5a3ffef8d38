"""Workers of the packing: finished units of the synthesis -> one shard of the corpus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corpus.text.words import count_words
from lm.data.corpus_job import ShardWriter, write_shard
from lm.data.formats import interleaved_document
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.bulk.workers import UnitFunction
from text2token.gate import GOOD
from text2token.synthesis.unit_file import SynthesisCounts, read_unit

from .clip_spans import Clip, as_clips, open_vectors
from .config import PackConfig
from .subsample import UNUSED, SpanSubsampler


@dataclass
class PackedCounts(SynthesisCounts):
    """Sums over the packed documents of one shard, or of many.

    Attributes:
        unused: number of good spans left as text for the ratio; they do not count among ``spans``.
        model: fingerprint of the text-to-token model.
    """

    unused: int = 0
    model: str = ""

    def merge(self, record: Any) -> None:
        """Add the counts of a `record`."""
        super().merge(record)
        self.model = record["model"] or self.model


def open_packer(config: PackConfig, number: int) -> UnitFunction:
    """Load the vocabulary in a worker process (`runtime.bulk.workers.ConfiguredWork`)."""
    return UnitPacker(config).pack


class UnitPacker:
    """The packing of units by the options of ``text2token.pack``."""

    def __init__(self, config: PackConfig) -> None:
        self.config = config
        self.synthesis = UnitFolder(config.synthesised)
        self.vocabulary = Vocabulary.from_pretrained(config.vocabulary)
        self.vectors = open_vectors(config.vectors, self.vocabulary) if config.vectors.is_given else None

    def pack(self, attempt: UnitAttempt) -> dict[str, Any]:
        """Write a shard; returns its `PackedCounts`, and those of the shard."""
        counts, result = PackedCounts(), dict[str, Any]()
        record = None if self.vectors is None else self.vectors.record
        with write_shard(attempt, self.vocabulary, result, record) as shard:
            for number in attempt.unit.work["units"]:
                self._add_unit(self.synthesis.units[number], shard, counts)
        return counts.record() | result

    def _add_unit(self, unit: Unit, shard: ShardWriter, counts: PackedCounts) -> None:
        """Add a unit's documents, and their clips."""
        documents, fingerprints, _ = read_unit(self.synthesis.path(unit, "parquet"))
        counts.model = fingerprints.model
        clips: list[dict[int, Clip]] = [{} for _ in documents]
        if self.vectors is not None:
            clips = as_clips(documents, unit, self.synthesis.path(unit, "tar"), self.vectors)
        subsampler = None if self.config.ratio is None else SpanSubsampler(self.config.ratio, self.config.seed)
        for document, own in zip(documents, clips, strict=True):
            if subsampler is not None:
                document = subsampler.subsample(document, count_words(document.text))
                counts.unused += sum(span.verdict == UNUSED for span in document.spans)
                document.spans[:] = [span for span in document.spans if span.verdict != UNUSED]
            counts.add(document)
            row = interleaved_document(document.pieces(), self.vocabulary, has_marks=self.config.has_marks)
            spoken = [one.start for one in document.spans if one.verdict == GOOD]
            shard.add(row, [own[start] for start in spoken] if self.vectors is not None else ())
