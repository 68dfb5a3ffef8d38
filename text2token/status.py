"""Where a bulk job stands, while it runs or after: done, at work, given up, what was made, what it took, what is left.

speechweave text2token status runs/synthesis
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.command import run_command

if TYPE_CHECKING:
    from runtime.bulk.job import Status, UnitFolder


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="speechweave text2token status",
        description="Where a bulk synthesis (or any job in units) stands.",
    )
    parser.add_argument("folder", type=Path, help="output folder of text2token synthesize")
    parser.add_argument("--lease", type=float, default=60.0, help="its bulk.lease_seconds (60)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status (0 good, 2 user error)."""
    return run_command(argument_parser(), lambda options: print(report(options.folder, options.lease)), arguments)


def report(folder: Path, lease_seconds: float = 60.0) -> str:
    """The lines of the status."""
    from runtime.bulk.job import UnitFolder

    job = UnitFolder(folder, lease_seconds)
    status = job.status(with_totals=True)
    lines = [f"units    {status.done} of {status.units} done, {status.working} at work, {len(status.failed)} given up"]
    totals = status.totals
    if "documents" in totals:
        share = totals["spoken_words"] / max(totals["words"], 1)
        lines.append(f"made     {totals['documents']:,.0f} documents, {totals['tokens']:,.0f} speech tokens")
        lines.append(f"ratio    {share:.4f} of {totals['words']:,.0f} words are speech")
    if totals.get("worker_seconds"):
        lines.append(
            f"cost     {totals['worker_seconds']:,.0f} seconds of workers, {totals['cpu_seconds']:,.0f} CPU seconds"
            + (
                f", {totals['tokens'] / totals['worker_seconds']:,.0f} tokens a second of a worker"
                if "tokens" in totals
                else ""
            )
        )
    lines += [f"left     {left}" for left in [time_left(job, status)] if left]
    lines += [f"failed   {name}: {job.failure(name)}" for name in status.failed]
    return "\n".join(lines)


def time_left(job: UnitFolder, status: Status) -> str:
    """What the rest will take by what the finished units took; "" where nothing is left, or nothing known."""
    left = status.units - status.done - len(status.failed)
    if not left or not status.done:
        return ""
    seconds = status.totals["worker_seconds"] / status.done * left
    at_work = max(status.working, 1)
    return f"{left} units, about {timedelta(seconds=round(seconds / at_work))} with {at_work} workers"


if __name__ == "__main__":
    sys.exit(main())
