"""Proof of what this machine can do: parts, laws of training, throughput; one row each.

    speechweave doctor
    speechweave doctor --json > machine.json
    speechweave doctor --only "save and resume" --only throughput

The exit status is 0 where all that this machine claims is proven, 1 where a proof failed, 2 for a wrong option. Each
proof runs in processes of its own: one that crashes, or hangs for ``seconds``, is a row that says so. A part that is
not there (no GPU, no Transformer Engine) is ``absent``, and so are the laws about it.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from lm.proofs.finding import ABSENT, FAILED, PROVEN, THERE, Finding
from runtime.command import Command
from runtime.config import Options, option

from .installation.proofs import PROOFS
from .installation.workbench import Workbench

COLOURS = {PROVEN: "green", FAILED: "bold red", THERE: "", ABSENT: "dim"}
NAMES = tuple(proof.name for proof in PROOFS)


@dataclass(kw_only=True)
class DoctorConfig(Options):
    """Options of doctor.

    Attributes:
        json: print the rows as JSON instead of a table.
        only: names of the rows to find; none given: all.
        seconds: after which a check or a training of a proof is stopped.
        peak_tflops: dense bf16 peak of a device, for the utilisation; 0: by the device's name, where that is known.
    """

    json: bool = False
    only: list[str] = option([], one_of=NAMES)
    seconds: float = option(300.0, above=0)
    peak_tflops: float = option(0.0, at_least=0)


@dataclass(frozen=True, kw_only=True)
class DoctorRow:
    """One proof's name, finding, and the seconds that it took."""

    name: str
    finding: Finding
    seconds: float


def examine(config: DoctorConfig) -> int:
    """Prove, print the rows, and return the exit status."""
    rows: list[DoctorRow] = []
    waiting = Console(stderr=True)
    with (
        Workbench.opened(seconds=config.seconds, peak_tflops=config.peak_tflops) as bench,
        waiting.status("") as status,
    ):
        for proof in PROOFS:
            if config.only and proof.name not in config.only:
                continue
            status.update(f"{proof.name} ...")
            started = time.monotonic()
            finding = proof.find(bench)
            rows.append(DoctorRow(name=proof.name, finding=finding, seconds=round(time.monotonic() - started, 1)))
    if config.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        show(rows)
    return int(any(row.finding.status == FAILED for row in rows))


def show(rows: list[DoctorRow]) -> None:
    """Print the table."""
    table = Table(title="speechweave doctor", title_justify="left")
    table.add_column("proof", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("s", justify="right", no_wrap=True)
    table.add_column("found", overflow="fold")
    for row in rows:
        colour = COLOURS[row.finding.status]
        table.add_row(row.name, row.finding.status, f"{row.seconds:.0f}", row.finding.detail, style=colour)
    Console(highlight=False).print(table)


COMMAND = Command(
    name="recipes.doctor",
    words="doctor",
    config=DoctorConfig,
    run=examine,
    summary="What this machine can do, proven: versions, GPUs, layers, layouts, resume, throughput.",
    example="speechweave doctor\nspeechweave doctor --json > machine.json\nspeechweave doctor --only throughput",
    notes="Exit status: 0 all that this machine claims is proven, 1 a proof failed, 2 a wrong option.",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
