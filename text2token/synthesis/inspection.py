"""Documents of a synthesis as text: spans in brackets, each with its outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from corpus.audio.files import SAMPLE_RATE
from runtime.bulk.job import UnitFolder
from text2token.gate import GOOD

from .unit_file import SpokenDocument, SpokenSpan, SynthesisCounts, read_unit

SHOWN_CODES = 6  # of each span
FEW_SPANS = 2  # in speech, of a document: below it a model sees few changes of modality
FEW_SPANS_HINT = (
    "spans in speech a document: a model sees few changes of modality. Longer documents, a smaller spans.mean_words or "
    "a larger spans.ratio give more"
)


def read_documents(folder: Path) -> Iterator[SpokenDocument]:
    """The documents of the finished units of a synthesis, in order."""
    job = UnitFolder(folder)
    for unit, _ in job.records():
        yield from read_unit(job.path(unit, "parquet"))[0]


def spans_per_document(folder: Path) -> float:
    """Mean number of spans in speech of a training document, over the finished units of a synthesis."""
    done = [record.result for unit, record in UnitFolder(folder).records() if unit.work["split"] == "train"]
    spoken = sum(one["spans"] - sum(one["rejected"].values()) for one in done)
    return round(spoken / max(sum(one["documents"] for one in done), 1), 2)


def has_rejected_span(document: SpokenDocument) -> bool:
    """Whether a span of the document failed the gate."""
    return any(span.verdict != GOOD for span in document.spans)


def describe(document: SpokenDocument) -> str:
    """One line with the document's counts."""
    counts = SynthesisCounts()
    counts.add(document)
    speech = f"{counts.samples / SAMPLE_RATE:.2f} s" if counts.samples else f"{counts.tokens} tokens"
    return (
        f"== {document.id}: {counts.words} words, {counts.spans - counts.num_rejected} of {counts.spans} spans spoken "
        f"({counts.spoken_words} words, {speech})"
    )


def mark_spans(document: SpokenDocument) -> str:
    """The text with each span in ``⟦ ⟧``, followed by its outcome."""
    parts, at = [], 0
    for span in document.spans:
        parts += [document.text[at : span.start], "⟦", document.text[span.start : span.end], "⟧", outcome(span)]
        at = span.end
    return "".join([*parts, document.text[at:]])


def outcome(span: SpokenSpan) -> str:
    """``‹ann, 38 tokens: 17 4 255 …›``, or why the span stays text."""
    if span.verdict != GOOD:
        return f"‹text: {span.verdict}›"
    if span.clip is not None:
        return f"‹{span.speaker}, {span.clip.samples / SAMPLE_RATE:.2f} s›"
    codes = " ".join(map(str, span.tokens[:SHOWN_CODES].tolist())) + (" …" if len(span.tokens) > SHOWN_CODES else "")
    return f"‹{span.speaker}, {len(span.tokens)} tokens: {codes}›"
