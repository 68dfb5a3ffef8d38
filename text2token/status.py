"""Progress of a bulk job, while it runs or after: units, totals of the results, cost, time left, failures.

speechweave text2token status runs/synthesis
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from corpus.audio.files import SAMPLE_RATE
from runtime.bulk.job import LEASE_SECONDS, Status, UnitFolder
from runtime.command import Command
from runtime.config import Options, option


@dataclass(kw_only=True)
class StatusConfig(Options):
    """Options of text2token status.

    Attributes:
        folder: output of text2token.synthesize or aloud, or of any stage that works in units.
        lease: the job's bulk.lease_seconds.
    """

    folder: str
    lease: float = option(LEASE_SECONDS, above=0)


def run(config: StatusConfig) -> None:
    """Print the report."""
    print(report(Path(config.folder), config.lease))


def report(folder: Path, lease_seconds: float = LEASE_SECONDS) -> str:
    """The lines of the report."""
    job = UnitFolder(folder, lease_seconds)
    status = job.status(with_totals=True)
    lines = [f"units    {status.done} of {status.units} done, {status.working} at work, {len(status.failed)} given up"]
    totals = status.totals
    if "documents" in totals:
        share = totals["spoken_words"] / max(totals["words"], 1)
        made = f"{totals['tokens']:,.0f} speech tokens"
        if totals.get("samples"):  # of text2token.aloud
            made = f"{totals['samples'] / SAMPLE_RATE / 3600:,.2f} hours of audio"
        lines.append(f"made     {totals['documents']:,.0f} documents, {made}")
        lines.append(f"ratio    {share:.4f} of {totals['words']:,.0f} words are speech")
    if totals.get("worker_seconds"):
        cost = f"{totals['worker_seconds']:,.0f} seconds of workers, {totals['cpu_seconds']:,.0f} CPU seconds"
        if totals.get("samples"):
            cost += f", {totals['samples'] / SAMPLE_RATE / totals['worker_seconds']:,.0f} times real time a worker"
        elif "tokens" in totals:
            cost += f", {totals['tokens'] / totals['worker_seconds']:,.0f} tokens a second of a worker"
        lines.append(f"cost     {cost}")
    lines += [f"left     {left}" for left in [time_left(status)] if left]
    lines += [f"failed   {name}: {job.failure(name)}" for name in status.failed]
    return "\n".join(lines)


def time_left(status: Status) -> str:
    """Units that are left and their time at the speed of the finished ones; "" where none is left or none finished."""
    left = status.units - status.done - len(status.failed)
    if not left or not status.done:
        return ""
    seconds = status.totals["worker_seconds"] / status.done * left
    workers = max(status.working, 1)
    return f"{left} units, about {timedelta(seconds=round(seconds / workers))} with {workers} workers"


COMMAND = Command(
    name="text2token.status",
    words="text2token status",
    config=StatusConfig,
    run=run,
    summary="Print the progress of a bulk synthesis (or of any job in units).",
    example="runs/synthesis",
    positional="folder",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
