"""Parallel map over many items in worker processes, in units that are done once: a killed call can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from runtime.progress import Progress

from .attempt import UnitAttempt
from .job import UnitFolder
from .unit import Unit
from .workers import UnitFunction, check_failed, finish_units

Item = TypeVar("Item")
Value = TypeVar("Value")
CHUNK = 32  # items of a unit


@dataclass(frozen=True)
class _ChunkedMap(Generic[Item, Value]):
    """The `Work` of `in_parallel`."""

    function: Callable[[Sequence[Item]], dict[str, Value]]
    items: Sequence[Item]

    def start(self, number: int) -> UnitFunction:
        return self.map_chunk

    def map_chunk(self, attempt: UnitAttempt) -> dict[str, Any]:
        chunk = attempt.unit.work
        return self.function(self.items[chunk["first"] : chunk["end"]])


def in_parallel(
    function: Callable[[Sequence[Item]], dict[str, Value]],
    items: Sequence[Item],
    folder: Path,
    *,
    processes: int,
    bar: Progress,
    chunk: int = CHUNK,
) -> dict[str, Value]:
    """Apply ``function`` to chunks of ``items`` and merge the dictionaries that it returns.

    Args:
        function: picklable; returns one value a key, plain data that depends on the items only.
        items: picklable; the same in each call.
        folder: keeps the results of finished chunks.
        processes: worker processes; with one, the work is done in this process.
        bar: updated by the number of keys, those done before the call included.
        chunk: items of a unit.

    Raises:
        UserError: a chunk that failed in all its attempts.
    """
    if not items:
        return {}
    starts = range(0, len(items), chunk)
    cuts = [{"first": start, "end": min(start + chunk, len(items))} for start in starts]
    job = UnitFolder.create(folder, [Unit(f"{number:06d}", cut) for number, cut in enumerate(cuts)])
    bar.update(sum(len(record.result) for _, record in job.records()))
    for record in finish_units(job, _ChunkedMap(function, items), processes=processes):
        bar.update(len(record.result))
    check_failed(job, 0.0)
    job.tidy()
    return {key: value for _, record in job.records() for key, value in record.result.items()}
