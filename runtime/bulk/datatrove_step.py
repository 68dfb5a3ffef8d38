"""Units of bulk work as a step of a datatrove pipeline, for datatrove's executors (local, SLURM, Ray).

datatrove only starts the workers; the unit folder assigns units to them and ensures that each is done once. So the
number of tasks is the number of workers, and a step may be run again at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep

from .job import UnitFolder
from .workers import Work, run_worker


class UnitsStep(PipelineStep):
    """One worker of a job: runs the worker loop until all units are settled.

    Args:
        root: the job's folder (`UnitFolder.create` made it), on a file system that all workers share.
        work: on the units.
        lease_seconds: see `UnitFolder`.
    """

    type = "speechweave"

    def __init__(self, root: str, work: Work, lease_seconds: float) -> None:
        self.name = type(work).__name__
        super().__init__()
        self.root, self.work, self.lease_seconds = root, work, lease_seconds

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Run the worker loop; passes on the documents of the steps before it, and yields none of its own."""
        yield from data or ()
        folder = UnitFolder(Path(self.root), self.lease_seconds)
        for _ in run_worker(folder, self.work, rank, world_size):
            self.stat_update("units tried")
