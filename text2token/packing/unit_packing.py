"""Workers of the packing: finished units of the synthesis -> one shard of documents as ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.text.words import count_words
from lm.data.corpora import SplitCounts
from lm.data.formats import interleaved_document
from lm.data.indexed import AddDocument, id_type, write_shard
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.workers import UnitFunction
from text2token.synthesis.unit_file import SynthesisCounts, read_unit

from .config import PackConfig
from .subsample import UNUSED, SpanSubsampler


@dataclass
class PackedCounts(SynthesisCounts):
    """Sums over the packed documents of one shard, or of many.

    Attributes:
        text_tokens: special tokens too.
        longest: tokens of the longest document.
        unused: number of good spans left as text for the ratio; they do not count among ``spans``.
        model: fingerprint of the text-to-token model.
    """

    text_tokens: int = 0
    longest: int = 0
    unused: int = 0
    model: str = ""

    def merge(self, record: Any) -> None:
        """Add the counts of a `record`."""
        longest, model = max(self.longest, record["longest"]), record["model"] or self.model
        super().merge({**record, "longest": 0})
        self.longest, self.model = longest, model

    def of_split(self) -> SplitCounts:
        """The counts as ``corpus.json`` states them."""
        return SplitCounts(
            documents=self.documents, text_tokens=self.text_tokens, speech_tokens=self.tokens, longest=self.longest
        )


def open_packer(config: PackConfig, number: int) -> UnitFunction:
    """Load the vocabulary in a worker process (`runtime.bulk.workers.ConfiguredWork`)."""
    return UnitPacker(config).pack


class UnitPacker:
    """The packing of units by the options of ``text2token.pack``."""

    def __init__(self, config: PackConfig) -> None:
        self.config = config
        self.synthesis = UnitFolder(config.synthesised)
        self.vocabulary = Vocabulary.from_pretrained(config.vocabulary)

    def pack(self, attempt: UnitAttempt) -> dict[str, Any]:
        """Write a shard; returns its `PackedCounts`."""
        counts = PackedCounts()
        ids, lengths = attempt.path("bin"), attempt.path("len")
        with write_shard(ids, lengths, id_type(self.vocabulary)) as add:
            for number in attempt.unit.work["units"]:
                self._add_file(self.synthesis.path(self.synthesis.units[number], "parquet"), add, counts)
        return counts.record()

    def _add_file(self, file: Path, add: AddDocument, counts: PackedCounts) -> None:
        documents, fingerprints, _ = read_unit(file)
        counts.model = fingerprints.model
        subsampler = None if self.config.ratio is None else SpanSubsampler(self.config.ratio, self.config.seed)
        for document in documents:
            if subsampler is not None:
                document = subsampler.subsample(document, count_words(document.text))
                counts.unused += sum(span.verdict == UNUSED for span in document.spans)
                document.spans[:] = [span for span in document.spans if span.verdict != UNUSED]
            row = interleaved_document(document.pieces(), self.vocabulary, has_marks=self.config.has_marks)
            speech_tokens_before = counts.tokens
            counts.add(document)
            counts.text_tokens += len(row) - (counts.tokens - speech_tokens_before)
            counts.longest = max(counts.longest, len(row))
            add(row)
