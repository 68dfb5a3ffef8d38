"""What a worker of `text2token.pack` does with a unit: read finished units of the synthesis, write one shard of ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm.data.corpora import SplitCounts, id_type
from lm.data.formats import interleaved_document
from lm.data.vocabulary import Vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder

from .shards import CorpusShardWriter
from .spans import count_words
from .subsample import UNUSED, SpanSubsampler
from .unit_file import Counts, read_unit


@dataclass
class PackedCounts(Counts):
    """What a shard, or many, holds, besides its documents' spans.

    Attributes:
        text_tokens: special tokens too.
        longest: tokens of the longest document.
        unused: good spans that the ratio had no room for; they are not among ``spans``.
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
        """For ``corpus.json``."""
        return SplitCounts(
            documents=self.documents, text_tokens=self.text_tokens, speech_tokens=self.tokens, longest=self.longest
        )


@dataclass(frozen=True, kw_only=True)
class Packing:
    """All that a worker needs, as plain data (a `runtime.bulk.workers.Work`).

    Attributes:
        synthesis: folder of the finished synthesis.
        vocabulary: folder of the vocabulary.
        ratio: share of the words that are to be speech; None for all good spans.
        seed: of the spans that are kept for the ratio.
        has_marks: BOA and EOA at each change of modality.
    """

    synthesis: str
    vocabulary: str
    ratio: float | None
    seed: int
    has_marks: bool = True

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
        """Load the vocabulary."""
        return Packer(self).finish


class Packer:
    """A worker with its vocabulary."""

    def __init__(self, work: Packing) -> None:
        self.work = work
        self.source = UnitFolder(work.synthesis)
        self.vocabulary = Vocabulary.from_pretrained(work.vocabulary)

    def finish(self, attempt: UnitAttempt) -> dict[str, Any]:
        """Write a shard; returns what it holds (`PackedCounts`)."""
        counts = PackedCounts()
        ids, lengths = attempt.path("bin"), attempt.path("len")
        with CorpusShardWriter(ids, lengths, id_type(self.vocabulary)) as shard:
            for number in attempt.unit.work["units"]:
                self._pack(self.source.path(self.source.units[number], "parquet"), shard, counts)
        return counts.record()

    def _pack(self, file: Path, shard: CorpusShardWriter, counts: PackedCounts) -> None:
        documents, marks, _ = read_unit(file)
        counts.model = marks.model
        keeper = None if self.work.ratio is None else SpanSubsampler(self.work.ratio, self.work.seed)
        for document in documents:
            if keeper is not None:
                document = keeper.keep(document, count_words(document.text))
                counts.unused += sum(span.verdict == UNUSED for span in document.spans)
                document.spans[:] = [span for span in document.spans if span.verdict != UNUSED]
            row = interleaved_document(document.pieces(), self.vocabulary, has_marks=self.work.has_marks)
            before = counts.tokens
            counts.add(document)
            counts.text_tokens += len(row) - (counts.tokens - before)
            counts.longest = max(counts.longest, len(row))
            shard.add(row)
