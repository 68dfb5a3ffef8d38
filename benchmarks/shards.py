"""Speed of the stages that write LM corpora in shards, with one worker and with two: tokens a second and CPU seconds.

    python -m benchmarks.shards --documents 40000
    python -m benchmarks.shards --stage pack --documents 20000

The same made-up texts are prepared (``lm.prepare``), or their synthesis by a model that answers at once is packed
(``text2token.pack``), by a process of its own each time. Tokens a second are those of the whole stage, its start and
its end included; on a machine that does other work, too, the ratio of the CPU seconds is what counts.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from runtime.command import Command
from runtime.config import Options, option

from .bulk import InstantSynthesis, run_engine, write_texts, write_vocabulary

STAGES = {"prepare": "lm.prepare", "pack": "text2token.pack"}


@dataclass(kw_only=True)
class ShardsBenchmarkConfig(Options):
    """Options of benchmarks.shards.

    Attributes:
        stage: prepare or pack.
        documents: number of made-up texts.
        words: of each text.
        units: about how many units of work there are.
        workers: processes of the second run.
        repeats: runs of each kind, of which the fastest counts.
    """

    stage: str = option("prepare", one_of=tuple(STAGES))
    documents: int = option(40_000, at_least=1)
    words: int = option(400, at_least=1)
    units: int = option(32, at_least=1)
    workers: int = option(2, at_least=2)
    repeats: int = option(1, at_least=1)


class StageCost(NamedTuple):
    """Cost of one run of a stage: seconds, CPU seconds of all its processes, and tokens written."""

    seconds: float
    cpu_seconds: float
    tokens: int


def run(options: ShardsBenchmarkConfig) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        words = _inputs(folder, options)
        costs = {
            processes: min(
                _cost(STAGES[options.stage], words, folder / f"{processes}-{number}", processes)
                for number in range(options.repeats)
            )
            for processes in (1, options.workers)
        }
    one, more = costs[1], costs[options.workers]
    for processes, cost in costs.items():
        print(
            f"{options.stage}, {processes} workers: {cost.tokens:,} tokens in {cost.seconds:.1f} s, "
            f"{cost.tokens / cost.seconds:,.0f} a second; {cost.cpu_seconds:.1f} CPU s"
        )
    print(
        f"tokens a second, {options.workers} workers / one: {one.seconds / more.seconds:.2f}; "
        f"CPU seconds: {more.cpu_seconds / one.cpu_seconds:.2f}"
    )


def _inputs(folder: Path, options: ShardsBenchmarkConfig) -> list[str]:
    """Make what the stage reads; returns its words."""
    texts = write_texts(folder, options.documents, options.words)
    vocabulary = write_vocabulary(folder / "vocabulary")
    if options.stage == "prepare":
        size = sum(file.stat().st_size for file in texts.parent.iterdir()) / (1 << 20)
        unit = f"unit_megabytes={size / options.units:.4f}"
        return [f"vocabulary={vocabulary}", f"texts={texts}", "formats=[text]", unit]
    run_engine(InstantSynthesis, texts, folder / "synthesis", vocabulary)
    (folder / "synthesis" / "done.json").write_text(json.dumps({"fingerprint": "none"}))
    units = len((folder / "synthesis" / "units.jsonl").read_text().splitlines())
    return [
        f"synthesised={folder / 'synthesis'}",
        f"vocabulary={vocabulary}",
        f"unit_files={max(units // options.units, 1)}",
    ]


def _cost(stage: str, words: list[str], out: Path, processes: int) -> StageCost:
    """Run a stage in a process of its own."""
    before, started = _children_cpu(), time.monotonic()
    command = [sys.executable, "-m", stage, *words, f"out={out}", f"processes={processes}"]
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - started
    metrics = json.loads((out / "metrics.json").read_text())
    return StageCost(seconds, _children_cpu() - before, metrics.get("text_tokens") or metrics["tokens"])


def _children_cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


COMMAND = Command(
    name="benchmarks.shards",
    words="benchmarks shards",
    config=ShardsBenchmarkConfig,
    run=run,
    summary="Measure lm.prepare or text2token.pack with one worker and with several.",
    example="--documents 40000",
)

if __name__ == "__main__":
    COMMAND.exit()
