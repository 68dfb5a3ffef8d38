"""Workers of the packing: finished units of the synthesis -> one shard of documents as ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from corpus.text.words import count_words
from lm.data.corpora import SplitCounts
from lm.data.formats import interleaved_document
from lm.data.indexed import AddDocument, id_type, write_shard
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.bulk.workers import UnitFunction
from text2token.gate import GOOD
from text2token.synthesis.unit_file import SynthesisCounts, read_unit

from .clip_spans import as_clips, clip_line, open_vectors
from .config import PackConfig
from .subsample import UNUSED, SpanSubsampler

CLIP_LINES = "clips.jsonl"


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
        self.vectors = open_vectors(config.vectors, self.vocabulary) if config.vectors.is_given else None

    def pack(self, attempt: UnitAttempt) -> dict[str, Any]:
        """Write a shard; returns its `PackedCounts`."""
        counts, lines = PackedCounts(), list[str]()
        ids, lengths = attempt.path("bin"), attempt.path("len")
        with write_shard(ids, lengths, id_type(self.vocabulary)) as add:
            for number in attempt.unit.work["units"]:
                self._add_unit(self.synthesis.units[number], add, lines, counts)
        if self.vectors is not None:
            attempt.path(CLIP_LINES).write_text("".join(lines), encoding="utf-8")
        return counts.record()

    def _add_unit(self, unit: Unit, add: AddDocument, lines: list[str], counts: PackedCounts) -> None:
        """Add a unit's documents, and the lines of their clips."""
        documents, fingerprints, _ = read_unit(self.synthesis.path(unit, "parquet"))
        counts.model = fingerprints.model
        clips = None
        if self.vectors is not None:
            clips = as_clips(documents, unit, self.synthesis.path(unit, "tar"), self.vectors)
        subsampler = None if self.config.ratio is None else SpanSubsampler(self.config.ratio, self.config.seed)
        for number, document in enumerate(documents):
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
            if clips is not None:
                lines.append(clip_line([clips[number][one.start] for one in document.spans if one.verdict == GOOD]))
