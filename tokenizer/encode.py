"""Stage ``tokenizer.encode``: a whole corpus to speech tokens in Parquet.

    python -m tokenizer.encode tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokens processes=2

Reads NeMo manifests, lhotse Shar and tarred audio (`tokenizer.data.bulk_speech`); writes ``<out>/<split>.parquet`` for
a manifest, ``<out>/<split>/`` with a file a shard for the others. Works in units that are done once: kill it, or any of
its workers, at any moment and call it again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.audio.room_simulation import RoomConfig
from runtime.bulk.launch import BulkConfig
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

if TYPE_CHECKING:
    from runtime.bulk.job import UnitFolder

    from .data.bulk_speech import Split


@dataclass(kw_only=True)
class EncodeConfig(StageConfig):
    """Options of ``tokenizer.encode``.

    Attributes:
        tokenizer: the artefact folder of ``tokenizer.train``.
        corpus: a folder of ``corpus.build``, or any with NeMo manifests, or with a folder of Shar or tarred audio for
            each split.
        splits: what to encode, names without ``.jsonl``; those that do not exist are left out.
        unit_utterances: utterances of a unit of work (of a manifest; Shar and tarred audio: a shard).
        processes: worker processes, of one thread each; 1 works in this process.
        device: ``cpu`` or ``cuda``.
        max_bad_share: share of bad records that is put up with; they are listed in bad_records.jsonl.
        room: encode utterances as a microphone in a room might have heard them (`corpus.audio.room_simulation`; its
            draws go by the seed): another take of the same speech, in other tokens, of another length. ``share`` 0
            leaves all as it is.
        bulk: who starts the workers, and what is put up with.
    """

    tokenizer: str
    corpus: str
    splits: list[str] = field(default_factory=lambda: ["train", "heldout_sentence", "heldout_voice", "heldout_words"])
    unit_utterances: int = 256
    processes: int = 1
    device: str = "cpu"
    max_bad_share: float = 0.01
    room: RoomConfig = field(default_factory=RoomConfig)
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        check_option(len(self.splits) > 0, "splits", self.splits, "name at least one manifest")
        check_option(self.unit_utterances >= 1, "unit_utterances", self.unit_utterances, "give at least 1")
        check_option(self.processes >= 1, "processes", self.processes, "give at least 1")
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give 0 to 1")


def run(config: EncodeConfig, run: Run) -> dict[str, Any]:
    """Encode all units that are not done, then put each split together."""
    import shutil
    import time

    from corpus.manifest import BadRecord, check_bad_share
    from runtime.artefact import write_text
    from runtime.bulk.job import UnitFolder
    from runtime.bulk.launch import run_job
    from runtime.bulk.workers import check_failed

    from .data.bulk_encoding import Encoding, join_split

    splits = find_splits(config)
    units = [unit for split in splits for unit in split.units]
    job = UnitFolder.create(run.folder / "parts", units, config.bulk.lease_seconds)
    work = Encoding(
        tokenizer=str(Path(config.tokenizer).absolute()), device=config.device, room=config.room, seed=config.seed
    )
    started, audio_seconds = time.monotonic(), 0.0
    with run.progress(len(units), "encoding", start=len(job.done_names()), unit="unit") as bar:
        for record in run_job(job, work, config.bulk, processes=config.processes):
            audio_seconds += record.result["audio_seconds"]
            bar.update(times_real_time=audio_seconds / (time.monotonic() - started))
    seconds = time.monotonic() - started
    check_failed(job, config.bulk.max_failed_share)
    results = [record.result for _, record in job.records()]
    bad = [record for split in splits if split.manifest for record in split.manifest.bad]
    bad += [BadRecord(*record) for result in results for record in result["bad"]]
    num_records = sum(split.num_records for split in splits if split.manifest) + sum(
        record.result["utterances"] + len(record.result["bad"])
        for unit, record in job.records()
        if "ids" not in unit.work
    )
    check_bad_share(bad, num_records, config.max_bad_share)
    lines = [json.dumps(vars(record), ensure_ascii=False) + "\n" for record in bad]
    write_text(run.folder / "bad_records.jsonl", "".join(lines))
    for split in splits:
        join_split(split, job, run.folder)
    metrics = measure(job) | {"bad_records": len(bad), "failed_units": len(job.failed_names())}
    shutil.rmtree(run.folder / "parts", ignore_errors=True)
    return metrics | {"times_real_time": audio_seconds / seconds if audio_seconds else 0.0}


def find_splits(config: EncodeConfig) -> list[Split]:
    """The splits that the corpus has."""
    from .data.bulk_speech import find_split

    options: dict[str, Any] = {"unit_utterances": config.unit_utterances, "max_bad_share": config.max_bad_share}
    found = [find_split(Path(config.corpus), name, **options) for name in config.splits]
    splits = [split for split in found if split is not None]
    if not splits:
        raise UserError(config.corpus, found=f"none of {config.splits}", remedy="run corpus.build, or set splits")
    return splits


def measure(job: UnitFolder) -> dict[str, Any]:
    """What all units hold, read unit by unit."""
    import numpy as np

    from corpus.tokens import read_tokens

    from .scoring.metrics import CodebookUse

    utterances, duration, counts = 0, 0.0, np.zeros(0, dtype=np.int64)
    for unit, record in job.records():
        part = read_tokens(job.path(unit, "parquet"))
        use = CodebookUse.of([item.tokens for item in part.items], part.codebook_size)
        counts = use.counts + (counts if len(counts) else 0)
        utterances += record.result["utterances"]
        duration += record.result["audio_seconds"]
    use = CodebookUse(counts)
    return {
        "utterances": utterances,
        "tokens": int(counts.sum()),
        "hours": duration / 3600,
        "codebook_use": use.share,
        "perplexity": use.perplexity,
    }


STAGE = Stage(
    name="tokenizer.encode",
    config=EncodeConfig,
    run=run,
    summary="Encode a corpus of speech to speech tokens (Parquet).",
    inputs=lambda config: [config.tokenizer, config.corpus],
    example="tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokens processes=2",
    speed_options=("processes", "bulk"),
)

if __name__ == "__main__":
    STAGE.exit()
