"""Synthesised units -> interleaved documents -> an LM corpus (2411.17607, section 2.2).

    python -m text2token.pack synthesised=runs/synthesis vocabulary=runs/vocabulary/vocabulary out=runs/interleaved

Text outside the spans is kept byte for byte; a span whose speech failed the gate is text again. It generates nothing:
pack again for a smaller ratio, another text tokenizer or other places of the speech tokens in the vocabulary (the
speech tokenizer must be the same). Whether speech counts in the loss is decided later still, when training
(``losses`` of lm.train). Works in units like the synthesis: kill it and call it again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import BulkConfig, run_job
from runtime.bulk.unit import Unit
from runtime.bulk.workers import check_failed
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from lm.data.corpora import CorpusInfo, SplitCounts
    from lm.data.vocabulary import Vocabulary

    from .packing import PackedCounts


@dataclass(kw_only=True)
class PackConfig(StageConfig):
    """Options of text2token.pack.

    Attributes:
        synthesised: output folder of text2token.synthesize.
        vocabulary: folder of a vocabulary that has the speech tokenizer's codes (the model's folder holds one).
        ratio: share of the words that are speech, at most the synthesised one (default: all good spans).
        has_marks: mark each change of modality by ``<|begin_of_audio|>`` and ``<|end_of_audio|>``.
        unit_files: units of the synthesis that one unit of work packs.
        processes: worker processes; changes speed only.
        bulk: who starts the workers, and what is put up with.
    """

    synthesised: str
    vocabulary: str
    ratio: float | None = None
    has_marks: bool = True
    unit_files: int = 16
    processes: int = 1
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        is_share = self.ratio is None or 0 <= self.ratio <= 1
        check_option(is_share, "ratio", self.ratio, "give a share in [0, 1]")
        for name in ("unit_files", "processes"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")


def run(config: PackConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/interleaved``; returns what it holds."""
    from lm.data.corpora import finished_corpus
    from lm.data.vocabulary import Vocabulary

    from .card import write_card

    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    folder = run.folder / "interleaved"
    info = finished_corpus(folder, vocabulary)
    if info is None:
        source = open_synthesis(config.synthesised)
        check_speech_tokenizer(source, vocabulary)
        check_ratio(source, config)
        job = _pack_units(source, config, run)
        info = _merge(job, source, vocabulary, folder, run)
    write_card(info)
    shutil.rmtree(run.folder / "units", ignore_errors=True)
    splits, made = info.splits, info.provenance
    return {
        "documents": splits["train"].documents,
        "tokens": splits["train"].tokens,
        "speech_tokens": splits["train"].speech_tokens,
        "valid_documents": splits["valid"].documents,
        "spans": made["spans"],
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
        remedy = "give the output folder of text2token.synthesize"
        raise UserError(str(root), found="no synthesis (no units.jsonl)", remedy=remedy)
    job = UnitFolder(root)
    status = job.status()
    if not status.is_settled or not (root / "done.json").is_file():
        found = f"{status.units - status.done} of {status.units} units are not finished"
        raise UserError(str(root), found=found, remedy="run text2token.synthesize to its end")
    return job


def check_speech_tokenizer(source: UnitFolder, vocabulary: Vocabulary) -> None:
    """Raise a `UserError` if the vocabulary is of other speech tokens than the synthesis."""
    from .unit_file import read_unit

    for unit, _ in source.records():  # all units of a job are of one model
        _, marks, _ = read_unit(source.path(unit, "parquet"))
        vocabulary.check_speech_tokenizer(marks.speech_tokenizer, str(source.root))
        return


def check_ratio(source: UnitFolder, config: PackConfig) -> None:
    """Raise a `UserError` if there is less speech than the ratio asks for."""
    if config.ratio is None:
        return
    results = [record.result for unit, record in source.records() if unit.work["split"] == "train"]
    spoken, words = sum(one["spoken_words"] for one in results), sum(one["words"] for one in results)
    if spoken < config.ratio * words:
        found = f"{config.ratio} asked for, but {spoken / max(words, 1):.4f} of the words were synthesised"
        raise UserError("option ratio", found=found, remedy="give less, or synthesise with a larger spans.ratio")


def _pack_units(source: UnitFolder, config: PackConfig, run: Run) -> UnitFolder:
    """Have the shards written; the job whose outputs they are."""
    from .packing import Packing

    done = source.done_names()
    numbers = {
        split: [number for number, unit in enumerate(source.units) if unit.work["split"] == split and unit.name in done]
        for split in ("train", "valid")
    }
    units = [
        Unit(
            f"{split}-{start // config.unit_files:06d}",
            {"split": split, "units": rows[start : start + config.unit_files]},
        )
        for split, rows in numbers.items()
        for start in range(0, len(rows), config.unit_files)
    ]
    job = UnitFolder.create(run.folder / "units", units, config.bulk.lease_seconds)
    work = Packing(
        synthesis=str(source.root.absolute()),
        vocabulary=str(Path(config.vocabulary).absolute()),
        ratio=config.ratio,
        seed=config.seed,
        has_marks=config.has_marks,
    )
    with run.progress(len(units), "packing", start=len(job.done_names()), unit="unit") as bar:
        for _ in run_job(job, work, config.bulk, processes=config.processes):
            bar.update()
    check_failed(job, 0.0)  # a corpus without some of its documents is not what was asked for
    return job


def _merge(job: UnitFolder, source: UnitFolder, vocabulary: Vocabulary, folder: Path, run: Run) -> CorpusInfo:
    """The shards as one corpus."""
    from lm.data.corpora import SPLITS, CorpusInfo, id_type, write_record
    from runtime.artefact import atomic_folder

    from .packing import PackedCounts
    from .shards import merge_shards

    counts = {split: PackedCounts() for split in SPLITS}
    shards: dict[str, list[tuple[Path, Path]]] = {split: [] for split in SPLITS}
    cpu_seconds = 0.0
    for unit, record in job.records():
        split = unit.work["split"]
        counts[split].merge(record.result)
        cpu_seconds += record.cpu_seconds
        shards[split].append((job.path(unit, "bin"), job.path(unit, "len")))
    if not counts["train"].documents:
        remedy = "check the texts: every document was left out, or there were none"
        raise UserError(str(folder), found="no document to pack", remedy=remedy)
    splits: dict[str, SplitCounts] = {}
    with atomic_folder(folder) as temporary:
        with run.progress(sum(map(len, shards.values())), "merging", unit="shard") as bar:
            for split in SPLITS:
                splits[split] = counts[split].of_split()
                if splits[split].documents:
                    merge_shards(temporary / split, shards[split], id_type(vocabulary), bar.update)
        info = CorpusInfo(
            folder=folder,
            format="interleaved",
            vocabulary=vocabulary.fingerprint,
            speech_tokenizer=vocabulary.speech_fingerprint,
            splits=splits,
            provenance=_provenance(counts["train"], counts["valid"], source, cpu_seconds),
        )
        write_record(temporary, info)
    return info


def _provenance(train: PackedCounts, valid: PackedCounts, source: UnitFolder, cpu_seconds: float) -> dict[str, Any]:
    records = [record for _, record in source.records()]
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
        "failed_units": len(source.failed_names()),
        "cost": {
            "synthesis_worker_seconds": round(sum(record.seconds for record in records), 1),
            "synthesis_cpu_seconds": round(sum(record.cpu_seconds for record in records), 1),
            "synthesis_tokens": sum(record.result["tokens"] for record in records),
            "packing_cpu_seconds": round(cpu_seconds, 1),
        },
    }


STAGE = Stage(
    name="text2token.pack",
    config=PackConfig,
    run=run,
    summary="Pack synthesised units into an LM corpus of interleaved documents.",
    inputs=lambda config: [config.synthesised, config.vocabulary],
    example="synthesised=runs/synthesis vocabulary=runs/vocabulary/vocabulary out=runs/interleaved processes=2",
    speed_options=("processes", "bulk"),
)

if __name__ == "__main__":
    STAGE.exit()
