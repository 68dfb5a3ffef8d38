"""Options of the stages that speak spans of texts in bulk, and those of ``text2token.synthesize`` besides."""

from __future__ import annotations

from dataclasses import dataclass, field

from lm.data.text_files import Columns
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig
from text2token.bulk_generation import BulkGenerationConfig, BulkSpeechConfig
from text2token.spans.policies import SpanConfig


@dataclass(kw_only=True)
class SpokenTextsConfig(BulkSpeechConfig):
    """Options of the stages that speak spans of a text corpus.

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


@dataclass(kw_only=True)
class SynthesizeConfig(SpokenTextsConfig, BulkGenerationConfig, StageConfig):
    """Options of text2token.synthesize.

    Attributes:
        readback: artefact folder of the speech tokenizer, whose post-VQ half then reads every span that the gate lets
            through; one that it misreads fails the gate, too ("" = no such check).
        readback_wer: largest word error rate of a span that is not misread.
    """

    readback: str = option("", is_later=True)
    readback_wer: float = option(0.5, at_least=0, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        has_effect = bool(self.readback) or self.readback_wer == type(self).readback_wer
        check_option(has_effect, "readback_wer", self.readback_wer, "it has no effect without readback=")
