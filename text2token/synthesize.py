"""Texts -> spans -> speech tokens: the bulk synthesis of interleaved data (2411.17607, section 2.2).

    python -m text2token.synthesize texts=runs/corpus/texts.jsonl texts_heldout=runs/corpus/texts_heldout.jsonl \
        model=runs/text2token_export/model out=runs/synthesis processes=2

Works in units of some documents (`text2token.plan`), each a Parquet file that `text2token.pack` reads and anyone can
open. Kill it, or any of its workers, at any moment and call it again: finished units are kept, and the output is byte
for byte that of an unbroken run. On a cluster add ``bulk.executor=slurm bulk.slurm.partition=gpu processes=64``.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.text.spoken_form import NORMALISERS
from runtime.artefact import write_text
from runtime.bulk.launch import BulkConfig, run_job
from runtime.bulk.workers import check_failed
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig, input_fingerprint

from .backends.choice import BACKENDS
from .gate import GateConfig
from .plan import SPLITS, open_job
from .spans import SpanConfig
from .texts import Columns, is_url

if TYPE_CHECKING:
    from runtime.bulk.job import UnitFolder
    from runtime.bulk.unit import UnitRecord

    from .unit_file import Counts
    from .workers import Synthesis

DTYPES = ("float32", "bfloat16")


@dataclass(kw_only=True)
class SynthesizeConfig(StageConfig):
    """Options of text2token.synthesize.

    Attributes:
        texts: JSON lines {"id", "text"} (.jsonl, .jsonl.gz, .jsonl.zst), Parquet, a folder of such files, or a URL
            that fsspec reaches.
        texts_heldout: the same, for the validation split ("" = none).
        text_column: name of the texts' column or field.
        id_column: name of the ids'; where there is none, ids are made of file name and line.
        model: the text-to-token model, a folder that lm.export wrote.
        backend: what generates: builtin; vllm or sglang on GPUs (each installed by yourself; not bit-exact).
        spans: which words become speech (policy, ratio, mean_words).
        passes: how often to go through the training texts, with other spans each time.
        speakers: speaker -> share of the spans, e.g. speakers.ann=2 (default: all of the vocabulary alike).
        temperature: of sampling; 0 is greedy.
        top_p: nucleus mass in (0, 1].
        normaliser: how numbers, dates, amounts, units and abbreviations are written out before: builtin (English and
            Mandarin), nemo (NeMo's text processing, installed by yourself) or none.
        normalises: give the model lower-case words without punctuation, as transcripts are.
        gate: bounds on the speech tokens of a span; what is outside stays text.
        retries: how often a span whose speech fails the gate is read again, by another seed, before it stays text.
        max_rejected_share: share of spans that may fail the gate.
        max_bad_share: share of records that may be no text; they are listed in bad_records.jsonl.
        unit_documents: documents of a unit of work, at most.
        batch_size: prompts generated at once; changes speed only.
        processes: worker processes; changes speed only.
        threads: torch threads of each process.
        dtype: float32, or bfloat16 (faster where the processor has it).
        cuda_graphs: the built-in generation decodes by CUDA graphs; changes speed only (not tried on a GPU yet).
        devices: where to run, workers take them in turn: [cpu], [cuda:0, cuda:1].
        bulk: who starts the workers, and what is put up with.
    """

    texts: str
    model: str
    backend: str = "builtin"
    texts_heldout: str = ""
    text_column: str = "text"
    id_column: str = "id"
    spans: SpanConfig = field(default_factory=SpanConfig)
    passes: int = 1
    speakers: dict[str, float] = field(default_factory=dict)
    temperature: float = 0.5
    top_p: float = 0.95
    normaliser: str = "builtin"
    normalises: bool = True
    gate: GateConfig = field(default_factory=GateConfig)
    retries: int = 2
    max_rejected_share: float = 0.5
    max_bad_share: float = 0.01
    unit_documents: int = 256
    batch_size: int = 64
    processes: int = 1
    threads: int = 1
    dtype: str = "float32"
    cuda_graphs: bool = False
    devices: list[str] = field(default_factory=lambda: ["cpu"])
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        for name in ("passes", "unit_documents", "batch_size", "processes", "threads"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        check_option(self.retries >= 0, "retries", self.retries, "give 0 or more")
        check_option(self.temperature >= 0, "temperature", self.temperature, "give 0 (greedy) or more")
        check_option(0 < self.top_p <= 1, "top_p", self.top_p, "give a mass in (0, 1]")
        for name in ("max_rejected_share", "max_bad_share"):
            check_option(0 <= getattr(self, name) <= 1, name, getattr(self, name), "give a share in [0, 1]")
        known = f"give one of {', '.join(NORMALISERS)}"
        check_option(self.normaliser in NORMALISERS, "normaliser", self.normaliser, known)
        check_option(self.backend in BACKENDS, "backend", self.backend, f"give one of {', '.join(BACKENDS)}")
        check_option(self.dtype in DTYPES, "dtype", self.dtype, f"give one of {', '.join(DTYPES)}")
        check_option(bool(self.devices), "devices", self.devices, "give at least one, e.g. [cpu]")


def run(config: SynthesizeConfig, run: Run) -> dict[str, Any]:
    """Finish the units that are not finished yet; returns what all of them hold."""
    from .unit_file import Counts

    work = _work(config)
    sources = dict(zip(SPLITS, (config.texts, config.texts_heldout), strict=True))
    job = open_job(
        run.folder,
        sources,
        work.columns,
        passes=config.passes,
        unit_documents=config.unit_documents,
        lease_seconds=config.bulk.lease_seconds,
    )
    made, seconds = _finish(job, work, config, run)
    check_failed(job, config.bulk.max_failed_share)
    job.tidy()
    total, cpu, bad = Counts(), 0.0, []
    for _, record in job.records():
        total.merge(record.result)
        bad += record.result["bad"]
        cpu += record.cpu_seconds
    _check_bad(bad, _num_records(job), config.max_bad_share)
    lines = [json.dumps({"place": place, "reason": reason}, ensure_ascii=False) + "\n" for place, reason in bad]
    write_text(run.folder / "bad_records.jsonl", "".join(lines))
    if total.rejected_share > config.max_rejected_share:
        reason = max(total.rejected, key=lambda one: total.rejected[one])
        found = f"{total.num_rejected} of {total.spans} spans fail the gate, most as {reason!r}"
        remedy = "train the model longer, widen the bounds gate.*, or raise max_rejected_share"
        raise UserError(config.model, found=found, remedy=remedy)
    return {
        "documents": total.documents,
        "words": total.words,
        "spans": total.spans,
        "tokens": total.tokens,
        "realised_ratio": round(total.realised_ratio, 4),
        "chosen_ratio": round(total.chosen_words / max(total.words, 1), 4),
        "rejected_share": round(total.rejected_share, 4),
        **{f"rejected_{reason}": count for reason, count in sorted(total.rejected.items())},
        "tokens_per_word": round(total.tokens / max(total.spoken_words, 1), 3),
        "bad_lines": len(bad),
        "failed_units": len(job.failed_names()),
        "tokens_per_second": round(made.tokens / seconds, 1) if made.tokens else 0.0,
        "cpu_seconds": round(cpu, 1),
    }


def _finish(job: UnitFolder, work: Synthesis, config: SynthesizeConfig, run: Run) -> tuple[Counts, float]:
    """What this call made, and the seconds it took."""
    from .unit_file import Counts

    made, bad, num_records = Counts(), 0, _num_records(job)
    before = sum(_num_of(record) for _, record in job.records())
    started = time.monotonic()
    with run.progress(num_records, "synthesis", start=before, unit="document") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            made.merge(record.result)
            bad += len(record.result["bad"])
            if bad > config.max_bad_share * num_records:
                break  # too many already: told with all that are known
            speed = made.tokens / (time.monotonic() - started)
            bar.update(_num_of(record), tokens_per_second=speed, rejected=made.rejected_share)
    if bad > config.max_bad_share * num_records:
        every = [one for _, record in job.records() for one in record.result["bad"]]
        _check_bad(every, num_records, config.max_bad_share)
    return made, time.monotonic() - started


def _num_records(job: UnitFolder) -> int:
    return sum(int(unit.work["count"]) for unit in job.units)


def _num_of(record: UnitRecord) -> int:
    return int(record.result["documents"]) + len(record.result["bad"])


def _check_bad(bad: list[list[str]], num_records: int, max_bad_share: float) -> None:
    from corpus.manifest import BadRecord, check_bad_share

    check_bad_share([BadRecord(place, reason) for place, reason in bad], num_records, max_bad_share)


def _work(config: SynthesizeConfig) -> Synthesis:
    from lm.data.vocabulary import Vocabulary

    from .engine import SpanVoice, voices
    from .unit_file import Fingerprints
    from .workers import Synthesis

    vocabulary = Vocabulary.from_pretrained(config.model)
    names, weights = voices(config.speakers, vocabulary)
    return Synthesis(
        model=str(Path(config.model).absolute()),
        backend=config.backend,
        marks=Fingerprints(
            vocabulary.fingerprint, vocabulary.speech_fingerprint, input_fingerprint(Path(config.model))
        ),
        columns=Columns(config.text_column, config.id_column),
        spans=config.spans,
        gate=config.gate,
        voice=SpanVoice(
            names=names,
            weights=weights,
            temperature=config.temperature,
            top_p=config.top_p,
            normaliser=config.normaliser,
            normalises=config.normalises,
        ),
        seed=config.seed,
        retries=config.retries,
        batch_size=config.batch_size,
        dtype=config.dtype,
        devices=tuple(config.devices),
        threads=config.threads,
        has_graphs=config.cuda_graphs,
    )


STAGE = Stage(
    name="text2token.synthesize",
    config=SynthesizeConfig,
    run=run,
    summary="Make speech tokens for spans of texts, with a text-to-token model, in bulk.",
    inputs=lambda config: [*(one for one in (config.texts, config.texts_heldout) if not is_url(one)), config.model],
    example="texts=runs/corpus/texts.jsonl model=runs/text2token_export/model out=runs/synthesis processes=2",
    speed_options=("batch_size", "processes", "threads", "cuda_graphs", "bulk"),
)

if __name__ == "__main__":
    STAGE.exit()
