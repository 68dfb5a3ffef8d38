"""Writer of a checkpoint's data: this process, or a fork of it in the background.

A fork sees memory as it was at the save. It ends with its parent, also when that is killed, so that no old writer
touches the files of a run that was called again.

megatron-core's own writers are processes below the writing one (which waits for ever if one is killed) and a manager
process for their results (which takes seconds to start and outlives a kill); neither is used.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest import mock

from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncCallsQueue, AsyncRequest
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from torch.distributed.checkpoint.api import CheckpointException

from runtime.bulk.workers import end_with_parent
from runtime.errors import UserError


@contextlib.contextmanager
def own_writer() -> Iterator[None]:
    """While open, megatron-core prepares saves that are written by `_write_files`."""
    with (
        mock.patch.object(filesystem_async, "_results_queue", WriterResults()),
        mock.patch.object(FileSystemWriterAsync, "write_preloaded_data_multiproc", staticmethod(_write_files)),
    ):
        yield


class WriterResults:
    """Result of a forked writer, in a nameless file that both processes hold open (a pipe would fill up and block).

    It stands for megatron-core's managed queue; one answer is ever put.
    """

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the save)

    def put(self, value: Any) -> None:
        """In the writer: leave the answer."""
        pickle.dump(value, self.file)
        self.file.flush()

    def get_nowait(self) -> Any:
        """In the parent: read it.

        Raises:
            queue.Empty: the writer ended without one.
        """
        self.file.seek(0)
        try:
            return pickle.load(self.file)
        except (EOFError, pickle.UnpicklingError) as error:
            raise queue.Empty from error


def schedule(background: AsyncCallsQueue, request: AsyncRequest) -> None:
    """Start the writers of ``request``; on all processes."""
    if request.async_fn is not None:
        request = request._replace(async_fn=partial(_write_while_needed, request.async_fn))
    background.schedule_async_request(request)


def finish(background: AsyncCallsQueue, folder: Path, *, is_blocking: bool) -> None:
    """Publish the saves whose writers have ended (or wait for all); on all processes.

    Raises:
        UserError: a writer failed.
    """
    with explained_failure(folder):
        background.maybe_finalize_async_calls(blocking=is_blocking)


@contextlib.contextmanager
def explained_failure(folder: Path) -> Iterator[None]:
    """Turn a failed save into a `UserError`."""
    try:
        yield
    except CheckpointException as error:
        causes = [str(cause[0]) for cause in error.failures.values()] or ["see the other processes"]
        remedy = "make room on the disk and call again: the checkpoint before it is whole"
        raise UserError(str(folder), found=f"a checkpoint could not be written ({causes[0]})", remedy=remedy) from error


def _write_files(transforms: Any, use_msc: bool, rank: int, buckets: Sequence[Any], results: WriterResults) -> None:
    """In the writer: write this rank's files one after the other and leave the results, or the first error."""
    written: dict[int, Any] = {}
    for number, bucket in enumerate(buckets):
        answers, running = queue.SimpleQueue[Any](), queue.Queue[int]()
        running.put(number)
        FileSystemWriterAsync.write_preloaded_data(transforms, number, bucket, cast(Any, answers), running, True)
        _, answer = answers.get()
        if isinstance(answer, Exception):
            results.put(answer)
            return
        written[number] = answer
    results.put(written)


def _write_while_needed(write: Callable[..., None], *arguments: Any, **options: Any) -> None:
    end_with_parent()
    write(*arguments, **options)
