"""Packing of a synthesis into an interleaved LM corpus: the job that writes its shards, and their provenance."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from corpus.audio.files import SAMPLE_RATE
from lm.data.corpora import SPLITS, CorpusInfo, finished_corpus
from lm.data.corpus_job import finish_corpus
from lm.data.vector_clips import absolute_vectors
from lm.data.vocabulary import Vocabulary
from runtime.artefact import read_json
from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import run_job
from runtime.bulk.unit import Unit
from runtime.bulk.workers import ConfiguredWork, check_failed
from runtime.errors import UserError
from runtime.stage import Run, input_fingerprint
from text2token.synthesis.inspection import FEW_SPANS, FEW_SPANS_HINT
from text2token.synthesis.unit_file import read_unit

from .card import write_card
from .clip_spans import check_vectors, open_vectors
from .config import PackConfig
from .unit_packing import PackedCounts, open_packer

# Of text2token.evaluate_spans, shown on the card.
SPAN_ERRORS = ("read_spans", "span_wer", "span_wer_of_cut_sentences", "span_wer_of_real_tokens")


def pack_corpus(config: PackConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/interleaved`` unless it is there; returns the stage's metrics."""
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    folder = run.folder / "interleaved"
    info = finished_corpus(folder, vocabulary)
    if info is None:
        synthesis = open_synthesis(config.synthesised)
        check_vectors(synthesis, config.vectors)
        if not config.vectors.is_given:
            check_speech_tokenizer(synthesis, vocabulary)
        check_ratio(synthesis, config)
        read_span_errors(config, synthesis)  # mistakes: before the job
        job = _pack_units(synthesis, config, run, folder)
        info = _finish(job, synthesis, vocabulary, config)
    write_card(info)
    splits, made = info.splits, info.provenance
    spoken = made["spans"] - sum(made["rejected"].values()) - made["unused_spans"]
    density = round(spoken / splits["train"].documents, 2)
    if density < FEW_SPANS:
        run.say(f"text2token.pack: warning: {density} {FEW_SPANS_HINT}")
    return {
        "documents": splits["train"].documents,
        "tokens": splits["train"].tokens,
        "speech_tokens": splits["train"].speech_tokens,
        "valid_documents": splits["valid"].documents,
        "spans": made["spans"],
        "spans_per_document": density,
        "realised_ratio": made["realised_ratio"],
        "rejected_share": made["rejected_share"],
        "longest": splits["train"].longest,
    }


def open_synthesis(path: str) -> UnitFolder:
    """The finished job of text2token.synthesize.

    Raises:
        UserError: no synthesis there, or one that has not finished.
    """
    root = Path(path)
    if not (root / "units.jsonl").is_file() or not (root / "train").is_dir():
        remedy = "give the output folder of text2token.synthesize or aloud"
        raise UserError(str(root), found="no synthesis (no units.jsonl)", remedy=remedy)
    job = UnitFolder(root)
    status = job.status()
    if not status.is_settled or not (root / "done.json").is_file():
        found = f"{status.units - status.done} of {status.units} units are not finished"
        raise UserError(str(root), found=found, remedy="run text2token.synthesize (or aloud) to its end")
    return job


def check_speech_tokenizer(synthesis: UnitFolder, vocabulary: Vocabulary) -> None:
    """Raise a `UserError` if the vocabulary has other speech tokens than the synthesis."""
    for unit, _ in synthesis.records():  # the first one is enough: all units of a job come from one model
        _, fingerprints, _ = read_unit(synthesis.path(unit, "parquet"))
        vocabulary.check_speech_tokenizer(fingerprints.speech_tokenizer, str(synthesis.root))
        return


def check_ratio(synthesis: UnitFolder, config: PackConfig) -> None:
    """Raise a `UserError` if there is less speech than the ratio asks for."""
    if config.ratio is None:
        return
    results = [record.result for unit, record in synthesis.records() if unit.work["split"] == "train"]
    spoken, words = sum(one["spoken_words"] for one in results), sum(one["words"] for one in results)
    if spoken < config.ratio * words:
        found = f"{config.ratio} asked for, but {spoken / max(words, 1):.4f} of the words were synthesised"
        raise UserError("option ratio", found=found, remedy="give less, or synthesise with a larger spans.ratio")


def read_span_errors(config: PackConfig, synthesis: UnitFolder) -> dict[str, Any]:
    """The figures of text2token.evaluate_spans for the card; none where the option is not given.

    Raises:
        UserError: no finished read-back there, or one of another synthesis.
    """
    if not config.span_readback:
        return {}
    folder = Path(config.span_readback)
    if not (folder / "spans.jsonl").is_file() or not (folder / "metrics.json").is_file():
        remedy = "give the output folder of text2token.evaluate_spans, run to its end"
        raise UserError(str(folder), found="no read-back of spans (no spans.jsonl, metrics.json)", remedy=remedy)
    metrics: dict[str, Any] = read_json(folder / "metrics.json")
    if metrics["synthesis"] != input_fingerprint(synthesis.root):
        found = f"the read-back of another synthesis than {synthesis.root}"
        raise UserError(str(folder), found=found, remedy="run text2token.evaluate_spans on the synthesis to pack")
    return {key: metrics[key] for key in SPAN_ERRORS if key in metrics}


def _pack_units(synthesis: UnitFolder, config: PackConfig, run: Run, folder: Path) -> UnitFolder:
    """Run the job that writes the shards; returns it."""
    numbers: dict[str, list[int]] = {split: [] for split in SPLITS}
    for number, unit in enumerate(synthesis.units):
        if synthesis.is_done(unit):
            numbers[unit.work["split"]].append(number)
    units = [
        Unit(
            f"{split}/unit-{start // config.unit_files:06d}",
            {"split": split, "units": rows[start : start + config.unit_files]},
        )
        for split, rows in numbers.items()
        for start in range(0, len(rows), config.unit_files)
    ]
    job = UnitFolder.create(folder, units, config.bulk.lease_seconds)
    absolute = dataclasses.replace(  # workers may start in another folder
        config,
        synthesised=str(Path(config.synthesised).absolute()),
        vocabulary=str(Path(config.vocabulary).absolute()),
        vectors=absolute_vectors(config.vectors),
    )
    work = ConfiguredWork(absolute, open_packer)
    with run.progress(len(units), "packing", start=job.num_done(), unit="unit") as bar:
        for _ in run_job(job, work, config.bulk, processes=config.processes):
            bar.update()
    check_failed(job, 0.0)  # whatever bulk.max_failed_share: a corpus must hold all documents of the synthesis
    return job


def _finish(job: UnitFolder, synthesis: UnitFolder, vocabulary: Vocabulary, config: PackConfig) -> CorpusInfo:
    """Make the job's folder a corpus."""
    counts = {split: PackedCounts() for split in SPLITS}
    cpu_seconds = 0.0
    for unit, record in job.records():
        counts[unit.work["split"]].merge(record.result)
        cpu_seconds += record.cpu_seconds
    vectors = open_vectors(absolute_vectors(config.vectors), vocabulary) if config.vectors.is_given else None
    provenance = _provenance(counts["train"], counts["valid"], synthesis, cpu_seconds) | {
        "training_tokens_by_speaker": None if vectors else vocabulary.speaker_tokens,
        "span_errors": read_span_errors(config, synthesis),
    }
    return finish_corpus(job, "interleaved", vocabulary, provenance, vectors.record if vectors else None)


def _provenance(train: PackedCounts, valid: PackedCounts, synthesis: UnitFolder, cpu_seconds: float) -> dict[str, Any]:
    """The corpus's provenance, as ``corpus.json`` states it and `text2token.packing.card` shows it."""
    records = [record for _, record in synthesis.records()]
    samples = sum(record.result.get("samples", 0) for record in records)  # none in older records
    return {
        "stage": "text2token.pack",
        "model": train.model,
        "words": train.words,
        "spans": train.spans,
        "realised_ratio": round(train.realised_ratio, 5),
        "chosen_ratio": round(train.chosen_words / max(train.words, 1), 5),
        "rejected": dict(sorted(train.rejected.items())),
        "rejected_share": round(train.rejected_share, 4),
        "unused_spans": train.unused,
        "valid_spans": valid.spans,
        "valid_realised_ratio": round(valid.realised_ratio, 5),
        "spans_by_speaker": dict(sorted(train.speakers.items())),
        "words_of_spans": {length: train.lengths[length] for length in sorted(train.lengths, key=int)},
        "bad_records": sum(len(record.result["bad"]) for record in records),
        "failed_units": len(synthesis.failed_names()),
        "audio_hours": round(train.samples / SAMPLE_RATE / 3600, 4),
        "cost": {
            "synthesis_worker_seconds": round(sum(record.seconds for record in records), 1),
            "synthesis_cpu_seconds": round(sum(record.cpu_seconds for record in records), 1),
            "synthesis_tokens": sum(record.result["tokens"] for record in records),
            "synthesis_audio_seconds": round(samples / SAMPLE_RATE, 1),
            "packing_cpu_seconds": round(cpu_seconds, 1),
        },
    }
