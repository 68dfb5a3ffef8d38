"""Worker processes for bulk work on files: results do not depend on their number, and they die with their parent."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

from .errors import UserError
from .progress import Progress

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 32  # items a worker takes at a time


def in_parallel(
    function: Callable[[Sequence[Item]], dict[str, Result]], items: Sequence[Item], *, workers: int, bar: Progress
) -> dict[str, Result]:
    """Apply ``function`` to chunks of ``items`` in ``workers`` processes and merge the dicts it returns.

    Args:
        function: picklable; its result must depend on the items only.
        items: picklable.
        workers: processes; with one, the work is done in this process.
        bar: updated by the number of results.

    Raises:
        UserError: a worker process was killed.
    """
    results: dict[str, Result] = {}
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    if workers == 1:
        for chunk in chunks:
            results |= function(chunk)
            bar.update(len(chunk))
        return results
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=end_with_parent) as pool:
        try:
            for future in as_completed([pool.submit(function, chunk) for chunk in chunks]):
                finished = future.result()
                results |= finished
                bar.update(len(finished))
        except BrokenProcessPool as error:
            remedy = "call again with fewer workers=: what was finished is kept"
            raise UserError("worker processes", found="one was killed", remedy=remedy) from error
        finally:
            pool.shutdown(cancel_futures=True)
    return results


def end_with_parent() -> None:
    """In a worker: leave as soon as the parent process is gone, even if it was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def watch() -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def remove_remnants(folders: Iterable[Path]) -> None:
    """Delete the temporary files that killed workers left in ``folders``."""
    for folder in folders:
        for remnant in folder.glob(".*"):
            remnant.unlink()


def num_available_cpus() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
