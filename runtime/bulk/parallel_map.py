"""A function over many items in worker processes, in units that are done once: a killed call goes on where it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from runtime.progress import Progress

from .attempt import UnitAttempt
from .units import Unit, UnitFolder
from .workers import check_failed, finish_units

Item = TypeVar("Item")
CHUNK = 32  # items of a unit


@dataclass(frozen=True)
class _Chunks(Generic[Item]):
    """The `Work` of `in_parallel`."""

    function: Callable[[Sequence[Item]], dict[str, Any]]
    items: Sequence[Item]

    def start(self, number: int) -> Callable[[UnitAttempt], dict[str, Any]]:
        return lambda attempt: self.function(self.items[attempt.unit.work["first"] : attempt.unit.work["end"]])


def in_parallel(
    function: Callable[[Sequence[Item]], dict[str, Any]],
    items: Sequence[Item],
    folder: Path,
    *,
    processes: int,
    bar: Progress,
    chunk: int = CHUNK,
) -> dict[str, Any]:
    """Apply ``function`` to chunks of ``items`` and merge the dicts it returns.

    Args:
        function: picklable; its result must depend on the items only and be plain data.
        items: picklable; the same, whenever the call is made again.
        folder: keeps what is done.
        processes: worker processes; with one, the work is done in this process.
        bar: updated by the number of items, those done before the call included.
        chunk: items of a unit.

    Raises:
        UserError: a chunk that could not be done in several attempts.
    """
    if not items:
        return {}
    starts = range(0, len(items), chunk)
    cuts = [{"first": start, "end": min(start + chunk, len(items))} for start in starts]
    job = UnitFolder.create(folder, [Unit(f"{number:06d}", cut) for number, cut in enumerate(cuts)])
    bar.update(sum(len(record["result"]) for _, record in job.records()))
    for record in finish_units(job, _Chunks(function, items), processes=processes):
        bar.update(len(record["result"]))
    check_failed(job, 0.0)
    job.tidy()
    return {key: value for _, record in job.records() for key, value in record["result"].items()}
