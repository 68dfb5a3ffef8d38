"""Texts -> spans -> speech tokens: the bulk synthesis of interleaved data (2411.17607, section 2.2).

    python -m text2token.synthesize texts=runs/corpus/texts.jsonl texts_heldout=runs/corpus/texts_heldout.jsonl \
        model=runs/text2token_export/model out=runs/synthesis processes=2

Works in units of some documents (`text2token.plan`), each a Parquet file that `text2token.pack` reads. Kill it at any
moment and call it again: finished units are kept, and the output is byte for byte that of an unbroken run. On a
cluster, call it once for each shard (``shard=3 num_shards=64 out=runs/synthesis/shard-3``) and pack the folder above.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig, input_fingerprint

from .gate import GateConfig
from .plan import SPLITS, make_plan
from .spans import SpanConfig

if TYPE_CHECKING:
    from .workers import Job

DTYPES = ("float32", "bfloat16")


@dataclass(kw_only=True)
class SynthesizeConfig(StageConfig):
    """Options of text2token.synthesize.

    Attributes:
        texts: JSON lines {"id", "text"}, or a folder of such files.
        texts_heldout: the same, for the validation split ("" = none).
        model: the text-to-token model, a folder that lm.export wrote.
        spans: which words become speech (policy, ratio, mean_words).
        passes: how often to go through the training texts, with other spans each time.
        speakers: speaker -> share of the spans, e.g. speakers.ann=2 (default: all of the vocabulary alike).
        temperature: of sampling; 0 is greedy.
        top_p: nucleus mass in (0, 1].
        normalises: give the model lower-case words without punctuation, as transcripts are.
        gate: bounds on the speech tokens of a span; what is outside stays text.
        max_rejected_share: share of spans that may fail the gate.
        max_bad_share: share of lines that may be no text.
        unit_documents: lines of a unit of work.
        shard: which shard of the units this call works off.
        num_shards: number of shards.
        batch_size: prompts generated at once; changes speed only.
        processes: worker processes; changes speed only.
        threads: torch threads of each process.
        dtype: float32, or bfloat16 (faster where the processor has it).
        devices: where to run, workers take them in turn: [cpu], [cuda:0, cuda:1].
    """

    texts: str
    model: str
    texts_heldout: str = ""
    spans: SpanConfig = field(default_factory=SpanConfig)
    passes: int = 1
    speakers: dict[str, float] = field(default_factory=dict)
    temperature: float = 0.5
    top_p: float = 0.95
    normalises: bool = True
    gate: GateConfig = field(default_factory=GateConfig)
    max_rejected_share: float = 0.5
    max_bad_share: float = 0.01
    unit_documents: int = 256
    shard: int = 0
    num_shards: int = 1
    batch_size: int = 64
    processes: int = 1
    threads: int = 1
    dtype: str = "float32"
    devices: list[str] = field(default_factory=lambda: ["cpu"])

    def __post_init__(self) -> None:
        for name in ("passes", "unit_documents", "num_shards", "batch_size", "processes", "threads"):
            check_option(getattr(self, name) >= 1, name, getattr(self, name), "give at least 1")
        check_option(0 <= self.shard < self.num_shards, "shard", self.shard, "give 0 to num_shards - 1")
        check_option(self.temperature >= 0, "temperature", self.temperature, "give 0 (greedy) or more")
        check_option(0 < self.top_p <= 1, "top_p", self.top_p, "give a mass in (0, 1]")
        for name in ("max_rejected_share", "max_bad_share"):
            check_option(0 <= getattr(self, name) <= 1, name, getattr(self, name), "give a share in [0, 1]")
        check_option(self.dtype in DTYPES, "dtype", self.dtype, f"give one of {', '.join(DTYPES)}")
        check_option(bool(self.devices), "devices", self.devices, "give at least one, e.g. [cpu]")


def run(config: SynthesizeConfig, run: Run) -> dict[str, Any]:
    """Finish the units that are not finished yet; returns what all units of this shard hold."""
    from corpus.manifest import check_bad_share

    from .unit_file import Counts, read_unit
    from .workers import finish_units

    job = _job(config, run)
    sources = dict(zip(SPLITS, (config.texts, config.texts_heldout), strict=True))
    plan = make_plan(run.folder, sources, passes=config.passes, unit_lines=config.unit_documents)
    units = plan[config.shard :: config.num_shards]
    remove_leftovers(run.folder)
    todo = [unit for unit in units if not (run.folder / unit.name).exists()]
    num_lines = sum(unit.num_lines for unit in units)
    made, bad, started = Counts(), [], time.monotonic()
    with run.progress(len(units), "synthesis", start=len(units) - len(todo), unit="unit") as bar:
        for finished in finish_units(todo, job, config.processes):
            made.merge(finished.counts)
            bad += finished.bad
            check_bad_share(bad, num_lines, config.max_bad_share)
            speed = made.tokens / (time.monotonic() - started)
            bar.update(tokens_per_second=speed, rejected=made.rejected_share)
    seconds = time.monotonic() - started
    total, num_bad = Counts(), 0
    for unit in units:
        documents, _, unit_bad = read_unit(run.folder / unit.name)
        num_bad += unit_bad
        for document in documents:
            total.add(document)
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
        "bad_lines": num_bad,
        "tokens_per_second": round(made.tokens / seconds, 1) if made.tokens else 0.0,
    }


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a killed call."""
    for split in SPLITS:
        for unfinished in (folder / split).glob(".*.parquet"):
            unfinished.unlink(missing_ok=True)


def _job(config: SynthesizeConfig, run: Run) -> Job:
    from lm.vocabulary import Vocabulary

    from .engine import Voice, voices
    from .unit_file import Marks
    from .workers import Job

    vocabulary = Vocabulary.from_pretrained(config.model)
    names, weights = voices(config.speakers, vocabulary)
    return Job(
        folder=run.folder,
        model=config.model,
        marks=Marks(vocabulary.fingerprint, vocabulary.speech_fingerprint, input_fingerprint(Path(config.model))),
        spans=config.spans,
        gate=config.gate,
        voice=Voice(
            names=names,
            weights=weights,
            temperature=config.temperature,
            top_p=config.top_p,
            normalises=config.normalises,
        ),
        seed=config.seed,
        batch_size=config.batch_size,
        dtype=config.dtype,
        devices=tuple(config.devices),
        threads=config.threads,
    )


STAGE = Stage(
    name="text2token.synthesize",
    config=SynthesizeConfig,
    run=run,
    summary="Make speech tokens for spans of texts, with a text-to-token model, in bulk.",
    inputs=lambda config: [config.texts, config.texts_heldout, config.model],
    example="texts=runs/corpus/texts.jsonl model=runs/text2token_export/model out=runs/synthesis processes=2",
    speed_options=("batch_size", "processes", "threads"),
)

if __name__ == "__main__":
    STAGE.exit()
