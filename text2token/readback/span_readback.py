"""Read-back of a synthesis: a sample of its spans, transcription by the tokenizer, tables by class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from corpus.text.spoken_words import spoken_words
from corpus.world.synthesis import Prompt, render
from corpus.world.voices import read_voices
from lm.data.readers import read_split
from runtime.artefact import write_text
from runtime.bulk.job import UnitFolder
from runtime.errors import UserError
from runtime.hashing import seed_of
from runtime.stage import Run, input_fingerprint
from text2token.gate import GOOD
from text2token.packing.corpus_packing import open_synthesis
from text2token.speech_generation import Codes
from text2token.synthesis.unit_file import SpokenDocument, SpokenSpan, read_unit
from tokenizer.model import SpeechTokenizer

from .config import SpanReadbackConfig
from .span_classes import (
    SpanReadback,
    crosses_sentence_end,
    cut_of,
    metrics_by_class,
    new_pairs,
    place_of,
    rates,
    word_pairs,
)


class SampledSpan(NamedTuple):
    """A span in speech, its number, and its document."""

    document: SpokenDocument
    number: int
    span: SpokenSpan

    @property
    def text(self) -> str:
        """The words of the span as they are said."""
        return spoken_words(self.document.text[self.span.start : self.span.end])


def evaluate_spans(config: SpanReadbackConfig, run: Run) -> dict[str, Any]:
    """Draw, read back, compare; writes ``spans.jsonl`` and ``classes.jsonl`` and returns the metrics."""
    torch.set_num_threads(config.threads)
    synthesis = open_synthesis(config.synthesised)
    tokenizer = SpeechTokenizer.from_pretrained(config.tokenizer).to(config.device)
    sample = sample_spans(synthesis, config, tokenizer.fingerprint)
    known = word_pairs(item.text for item in read_split(config.tokens, "train").items) if config.tokens else None
    heard = tokenizer.read_tokens([one.span.tokens for one in sample])
    real: Sequence[str | None] = [None] * len(sample)
    if config.corpus:
        real = tokenizer.read_tokens(speak_spans(sample, config, tokenizer, run))
    rows = [
        SpanReadback(
            document=one.document.id,
            span=one.number,
            speaker=one.span.speaker,
            text=one.text,
            heard=transcript,
            heard_in_real_tokens=transcript_of_real,
            tokens=len(one.span.tokens),
            words=len(one.text.split()),
            place=place_of(one.document, one.span),
            cut=cut_of(one.document, one.span),
            crosses_sentence_end=crosses_sentence_end(one.document, one.span),
            new_pairs=None if known is None else new_pairs(one.text, known),
        )
        for one, transcript, transcript_of_real in zip(sample, heard, real, strict=True)
    ]
    _write_lines(run.folder / "spans.jsonl", [vars(row) for row in rows])
    _write_lines(run.folder / "classes.jsonl", list(metrics_by_class(rows)))
    return span_metrics(rows) | {"synthesis": input_fingerprint(synthesis.root)}


def sample_spans(synthesis: UnitFolder, config: SpanReadbackConfig, tokenizer: str) -> list[SampledSpan]:
    """Spans in speech drawn by the seed, all alike, in the order of the synthesis.

    Only the files of the units that hold one are read.

    Raises:
        UserError: the split has no span in speech, or the tokens are of another speech tokenizer.
    """
    counts = [
        (unit, record.result["spans"] - sum(record.result["rejected"].values()))
        for unit, record in synthesis.records()
        if unit.work["split"] == config.split
    ]
    total = sum(count for _, count in counts)
    if not total:
        found = f"no span in speech in split {config.split}"
        raise UserError(config.synthesised, found=found, remedy="give another split=, or see why the gate rejects all")
    size = min(config.num_spans or total, total)
    random = np.random.default_rng(seed_of(config.seed, "span readback"))
    chosen = np.sort(random.choice(total, size, replace=False))
    sample: list[SampledSpan] = []
    first = 0
    for unit, count in counts:
        own = chosen[(chosen >= first) & (chosen < first + count)] - first
        first += count
        if not len(own):
            continue
        documents, fingerprints, _ = read_unit(synthesis.path(unit, "parquet"))
        if fingerprints.speech_tokenizer != tokenizer:
            found = f"tokenizer {tokenizer}, but the spans are of {fingerprints.speech_tokenizer}"
            raise UserError(config.tokenizer, found=found, remedy="give the tokenizer that the synthesis is of")
        spans = [
            SampledSpan(document, number, span)
            for document in documents
            for number, span in enumerate(document.spans)
            if span.verdict == GOOD
        ]
        sample += [spans[at] for at in own.tolist()]
    return sample


def speak_spans(
    sample: Sequence[SampledSpan], config: SpanReadbackConfig, tokenizer: SpeechTokenizer, run: Run
) -> list[Codes]:
    """Tokens of the same words in the same voice by the built-in synthesiser, without a room.

    Raises:
        UserError: a speaker of the synthesis is no voice of the corpus.
    """
    voices = {voice.name: voice for voice in read_voices(config.corpus).voices}
    unknown = sorted({one.span.speaker for one in sample} - voices.keys())
    if unknown:
        found = f"no voice for the speaker {unknown[0]!r} of the synthesis"
        raise UserError(
            str(Path(config.corpus) / "voices.json"),
            found=found,
            remedy="leave corpus out: the floor needs the built-in voices",
        )
    audios = []
    with run.progress(len(sample), "speaking the same words", unit="span") as bar:
        for one in sample:
            words = one.document.text[one.span.start : one.span.end]
            id = f"{one.document.id} {one.number}"
            audios.append(render(Prompt(id, words, voices[one.span.speaker], Path()), config.seed))
            bar.update()
    return tokenizer.encode(audios)


def span_metrics(rows: Sequence[SpanReadback]) -> dict[str, Any]:
    """The word error rates of all spans, and of the two classes that tell fragments from sentences."""
    metrics: dict[str, Any] = {
        "read_spans": len(rows),
        "read_span_words": sum(row.words for row in rows),
        **rates(rows),
        "exact_spans_share": round(sum(spoken_words(row.heard) == row.text for row in rows) / len(rows), 4),
    }
    whole = [row for row in rows if row.cut == "none"]
    cut = [row for row in rows if row.cut != "none"]
    for name, own in (("whole_sentences", whole), ("cut_sentences", cut)):
        if own:
            metrics[f"span_wer_of_{name}"] = rates(own)["span_wer"]
    if all(row.new_pairs is not None for row in rows):
        pairs = sum(max(row.words - 1, 0) for row in rows)
        metrics["new_pairs_share"] = round(sum(row.new_pairs or 0 for row in rows) / max(pairs, 1), 4)
    return metrics


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
