"""Reading aloud of a text corpus: the bulk job over its units, the checks of its results, its card."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from corpus.audio.files import SAMPLE_RATE
from runtime.artefact import fingerprint, identity, write_text
from runtime.stage import Run, input_fingerprint
from text2token.packing.card import span_sections, voices
from text2token.speaker_shares import SpeakerShares, voice_shares
from text2token.synthesis.bulk_spans import SpokenTotals, check_rejected, speak_texts
from text2token.synthesis.inspection import FEW_SPANS, FEW_SPANS_HINT, spans_per_document
from text2token.synthesis.plan import open_job

from .base import SpanReader
from .config import AloudConfig
from .table import open_span_reader
from .unit_reading import ReadingWork

REMEDY = "choose another reader, widen the bounds gate.* and max_seconds, or raise max_rejected_share"
HOUR = 3600 * SAMPLE_RATE  # samples


def read_corpus_aloud(config: AloudConfig, run: Run) -> dict[str, Any]:
    """Finish the units that are not done; returns the metrics of all units together."""
    config = _with_absolute_paths(config)  # workers may start elsewhere
    reader = open_span_reader(config)
    shares = voice_shares(config.speakers, reader.voices)  # mistakes: before the job
    run.say(f"text2token.aloud: {shares}")
    job = open_job(run.folder, config)
    totals = speak_texts(job, ReadingWork(config=config, fingerprint=reader_fingerprint(config)), config, run)
    check_rejected(totals, config, f"option reader={config.reader}", REMEDY)
    density = spans_per_document(run.folder)
    if density < FEW_SPANS:
        run.say(f"text2token.aloud: warning: {density} {FEW_SPANS_HINT}")
    metrics = totals.metrics() | {
        "spans_per_document": density,
        "hours": round(totals.counts.samples / HOUR, 4),
        "mean_seconds": round(totals.counts.samples / SAMPLE_RATE / max(_num_spoken(totals), 1), 3),
        "real_time_factor": round(totals.cpu_seconds / max(totals.counts.samples / SAMPLE_RATE, 1e-9), 5),
    }
    write_text(run.folder / "README.md", _card(config, totals, shares, reader, metrics))
    return metrics


def reader_fingerprint(config: AloudConfig) -> str:
    """Fingerprint of the reader: its options, and the content of its models."""
    read = [input_fingerprint(Path(path)) for path in config.model_inputs]
    options = identity(getattr(config, config.reader))
    options |= {name: "" for name in ("model", "decoder") if read}  # a moved model is the same
    return fingerprint({"reader": config.reader, "options": options, "inputs": read})


def _with_absolute_paths(config: AloudConfig) -> AloudConfig:
    model, decoder = (path and str(Path(path).absolute()) for path in (config.model.model, config.model.decoder))
    return dataclasses.replace(config, model=dataclasses.replace(config.model, model=model, decoder=decoder))


def _num_spoken(totals: SpokenTotals) -> int:
    return totals.counts.spans - totals.counts.num_rejected


def _card(
    config: AloudConfig, totals: SpokenTotals, shares: SpeakerShares, reader: SpanReader, metrics: Mapping[str, Any]
) -> str:
    """The card of the spoken texts as Markdown."""
    counts = totals.counts
    spans = config.spans
    lengths = {length: counts.lengths[length] for length in sorted(counts.lengths, key=int)}
    return "\n".join(
        [
            "# Texts with spans read aloud",
            "",
            "Made by speechweave's `text2token.aloud` (InSerter, 2503.02769): spans of the texts as audio, FLAC of "
            "16 kHz in tars. `text2token.pack` makes an interleaved LM corpus of them for an encoder.",
            "",
            "| file | content |",
            "|---|---|",
            "| `<split>/<unit>.tar` | `key.flac`, `key.json`: WebDataset, and lhotse's Shar |",
            "| `<split>/<unit>.cuts.jsonl` | lhotse's cuts: duration, words and voice of each clip |",
            "| `<split>/<unit>.parquet` | the documents: text, spans, and the place of each span's audio in the tar |",
            "",
            f"- documents: {counts.documents:,}, words: {counts.words:,} (all splits and passes)",
            f"- spans: policy `{spans.policy}`, ratio {spans.ratio}; {counts.spans:,} chosen, {_num_spoken(totals):,} "
            f"in speech, {metrics['spans_per_document']} a training document",
            f"- realised share of speech: {counts.realised_ratio:.4f} of the words (chosen: "
            f"{counts.chosen_words / max(counts.words, 1):.4f})",
            f"- audio: {counts.samples / HOUR:,.3f} hours, {metrics['mean_seconds']} seconds a span",
            f"- reader: `{config.reader}`; {shares}"
            + ("" if reader.is_repeatable else "; its server draws anew: another run gives other audio"),
            f"- records left out of the source: {len(totals.bad):,}; units given up: {totals.failed_units:,}",
            f"- cost: {totals.cpu_seconds:,.1f} CPU seconds of workers",
            "",
            *span_sections(lengths, dict(sorted(counts.rejected.items())), counts.rejected_share),
            *voices(counts.speakers, None),
            "",
        ]
    )
