"""Options of ``text2token.synthesize``."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import option
from runtime.stage import StageConfig
from text2token.bulk_generation import BulkGenerationConfig
from text2token.spans.policies import SpanConfig
from text2token.texts import Columns


@dataclass(kw_only=True)
class SynthesizeConfig(BulkGenerationConfig, StageConfig):
    """Options of text2token.synthesize.

    Attributes:
        texts: JSON lines {"id", "text"} (.jsonl, .jsonl.gz, .jsonl.zst), Parquet, a folder of such files, or a URL
            that fsspec reaches.
        texts_heldout: the same, for the validation split ("" = none).
        text_column: name of the texts' column or field.
        id_column: name of the ids'; where there is none, ids are made of file name and line.
        spans: which words become speech.
        passes: how often to go through the training texts, with other spans each time.
        speakers: speaker -> share of the spans, e.g. speakers.ann=2 (default: by speaker_draw).
        retries: how often the speech of a span that fails the gate is generated again, by another seed, before the
            span stays text.
        max_rejected_share: largest share of the spans that may fail the gate.
        max_bad_share: largest share of records without a text; they are listed in bad_records.jsonl.
        unit_documents: documents of a unit of work, at most.
    """

    texts: str
    texts_heldout: str = ""
    text_column: str = "text"
    id_column: str = "id"
    spans: SpanConfig = field(default_factory=SpanConfig)
    passes: int = option(1, at_least=1)
    speakers: dict[str, float] = field(default_factory=dict)
    unit_documents: int = option(256, at_least=1)

    @property
    def columns(self) -> Columns:
        """The columns of text and id."""
        return Columns(self.text_column, self.id_column)
