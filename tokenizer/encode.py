"""Stage ``tokenizer.encode``: a whole corpus to speech tokens, ``<out>/<split>.parquet``.

    python -m tokenizer.encode tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokens processes=2

The utterances, sorted by length, are cut into units; each finished unit is a file in ``<out>/parts``, so that a
killed run goes on where it was. At the end the units are put together in the manifest's order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig


@dataclass(kw_only=True)
class EncodeConfig(StageConfig):
    """Options of ``tokenizer.encode``.

    Attributes:
        tokenizer: the artefact folder of ``tokenizer.train``.
        corpus: a folder of ``corpus.build``, or any with NeMo manifests.
        splits: its manifests to encode, without ``.jsonl``; those that do not exist are left out.
        unit_utterances: utterances of a unit of work.
        processes: worker processes, of one thread each; 1 works in this process.
        device: ``cpu`` or ``cuda``.
        max_bad_share: share of bad records that is put up with.
    """

    tokenizer: str
    corpus: str
    splits: list[str] = field(default_factory=lambda: ["train", "heldout_sentence", "heldout_voice", "heldout_words"])
    unit_utterances: int = 256
    processes: int = 1
    device: str = "cpu"
    max_bad_share: float = 0.01

    def __post_init__(self) -> None:
        check_option(len(self.splits) > 0, "splits", self.splits, "name at least one manifest")
        check_option(self.unit_utterances >= 1, "unit_utterances", self.unit_utterances, "give at least 1")
        check_option(self.processes >= 1, "processes", self.processes, "give at least 1")
        check_option(0 <= self.max_bad_share <= 1, "max_bad_share", self.max_bad_share, "give 0 to 1")


def run(config: EncodeConfig, run: Run) -> dict[str, Any]:
    """Encode all units that are not done, then write one Parquet file a split."""
    import shutil
    import time

    from corpus.manifest import check_bad_share, read_manifest

    from .scoring import CodebookUse
    from .units import Unit, cut_units, encode_units, join_units

    folder = Path(config.corpus)
    manifests = [
        read_manifest(folder / f"{split}.jsonl", config.max_bad_share)
        for split in config.splits
        if (folder / f"{split}.jsonl").is_file()
    ]
    if not manifests:
        raise UserError(config.corpus, found=f"none of {config.splits}", remedy="run corpus.build, or set splits")
    units: list[Unit] = [
        unit
        for manifest in manifests
        for unit in cut_units(manifest, config.unit_utterances, run.folder / "parts", config.device)
    ]
    todo = [unit for unit in units if not unit.part.exists()]
    started = time.monotonic()
    with run.progress(len(units), "encoding", start=len(units) - len(todo), unit="unit") as bar:
        for _ in encode_units(todo, config.tokenizer, config.processes):
            bar.update()
    seconds = time.monotonic() - started
    bad = [record for manifest in manifests for record in manifest.bad] + [
        record for unit in units for record in unit.bad_records()
    ]
    num_records = sum(len(manifest.utterances) + len(manifest.bad) for manifest in manifests)
    check_bad_share(bad, num_records, config.max_bad_share)
    joined = [join_units(manifest, units, run.folder) for manifest in manifests]
    shutil.rmtree(run.folder / "parts", ignore_errors=True)
    items = [item for speech in joined for item in speech.items]
    use = CodebookUse.of([item.tokens for item in items], joined[0].codebook_size)
    encoded = sum(utterance.duration for unit in todo for utterance in unit.utterances)
    return {
        "utterances": len(items),
        "tokens": int(use.counts.sum()),
        "hours": sum(item.duration for item in items) / 3600,
        "bad_records": len(bad),
        "codebook_use": use.share,
        "perplexity": use.perplexity,
        "times_real_time": encoded / seconds if todo else 0.0,
    }


STAGE = Stage(
    name="tokenizer.encode",
    config=EncodeConfig,
    run=run,
    summary="Encode a corpus of speech to speech tokens (Parquet).",
    inputs=lambda config: [config.tokenizer, config.corpus],
    example="tokenizer=runs/tokenizer/artefact corpus=runs/corpus out=runs/tokens processes=2",
)

if __name__ == "__main__":
    STAGE.exit()
