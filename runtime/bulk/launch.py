"""Launch of a bulk job's workers: in this process's own pool (``local``), or by datatrove on a SLURM or Ray cluster.

With every executor the unit folder (`runtime.bulk.job`) ensures that each unit is done once; an interrupted call is
repeated, with any executor. (datatrove's own local executor waits for ever when one of its processes is killed, and
counts tasks by rank; so locally our own pool starts the workers.)
"""

from __future__ import annotations

import contextlib
import importlib.util
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from runtime.config import Options, option
from runtime.errors import UserError, check_option

from .job import UnitFolder
from .unit import UnitRecord
from .workers import Work, end_with_parent, finish_units

EXECUTORS = ("local", "slurm", "ray")  # a further one: its name here, its options in BulkConfig, a row of LAUNCHERS
CLOSING_SECONDS = 30.0  # that a Ray driver may take to end when its job is done


@dataclass(kw_only=True)
class SlurmConfig(Options):
    """Options of workers that SLURM runs.

    Attributes:
        partition: of the cluster.
        time: limit of a worker; units of workers that reach it are taken over, call the stage again for the rest.
        qos: quality of service.
        cpus: of a worker.
        gpus: of a worker.
        memory_gb: for each CPU.
        setup: shell command before the worker starts ("" = activate this Python's environment).
        sbatch: more options of sbatch, e.g. slurm.sbatch.account=speech.
        poll_seconds: interval at which the call that waits for the workers polls the queue.
    """

    partition: str = ""
    time: str = "24:00:00"
    qos: str = "normal"
    cpus: int = option(1, at_least=1)
    gpus: int = option(0, at_least=0)
    memory_gb: int = option(4, at_least=1)
    setup: str = ""
    sbatch: dict[str, str] = field(default_factory=dict)
    poll_seconds: float = option(30.0, above=0)


@dataclass(kw_only=True)
class RayConfig(Options):
    """Options of workers that Ray runs.

    Attributes:
        address: of the cluster ("" = one on this machine, for the time of the call).
        cpus: of a worker.
        gpus: of a worker.
        memory_gb: for each CPU.
    """

    address: str = ""
    cpus: int = option(1, at_least=1)
    gpus: int = option(0, at_least=0)
    memory_gb: float = option(1.0, above=0)


@dataclass(kw_only=True)
class BulkConfig(Options):
    """Executor and fault tolerance of a bulk job; none of the options changes the output's bytes.

    Attributes:
        executor: local (processes of this machine), slurm or ray.
        slurm: options of executor=slurm.
        ray: options of executor=ray.
        lease_seconds: time without heartbeat after which a worker's unit is taken over.
        max_failed_share: share of the units that may fail in all their attempts.
    """

    executor: str = option("local", one_of=EXECUTORS)
    slurm: SlurmConfig = field(default_factory=SlurmConfig)
    ray: RayConfig = field(default_factory=RayConfig)
    lease_seconds: float = option(60.0, above=0)
    max_failed_share: float = option(0.0, at_least=0, at_most=1)


def run_job(folder: UnitFolder, work: Work, config: BulkConfig, *, processes: int) -> Iterator[UnitRecord]:
    """Finish a job with ``processes`` workers; yields the record of each unit as it is finished.

    Units that failed in an earlier call are tried again. Records of units done before the call are left out.
    """
    if config.executor == "local":
        return finish_units(folder, work, processes=processes)
    launch = LAUNCHERS[config.executor]
    return _watched(folder, lambda: launch(folder, work, config, processes))


class _Launched:
    """Workers that an executor has started."""

    poll_seconds = 0.5
    logs = ""

    def is_alive(self) -> bool:
        """Whether any of the workers may still be running."""
        raise NotImplementedError

    def close(self) -> None:
        """Release the executor when the job is over."""


def _watched(folder: UnitFolder, launch: Callable[[], _Launched]) -> Iterator[UnitRecord]:
    folder.reset_failed()
    if folder.num_done() == len(folder.units):
        return
    launched = launch()
    try:
        with folder.new_records() as new_records:
            while True:
                was_alive = launched.is_alive()  # asked first: the last unit may be finished between the two questions
                yield from new_records()
                if folder.is_settled():
                    yield from new_records()
                    return
                if not was_alive:
                    left, units = len(folder.units) - folder.num_done(), len(folder.units)
                    found = f"its workers have ended, {left} of {units} units are left"
                    remedy = f"see their logs in {launched.logs}; call again for the rest"
                    raise UserError(str(folder.root), found=found, remedy=remedy)
                time.sleep(launched.poll_seconds)
    finally:
        launched.close()


class _RayJob(_Launched):
    """datatrove's Ray executor in a child process: a Ray driver that loses its server ends its whole process."""

    def __init__(self, folder: UnitFolder, work: Work, config: BulkConfig, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.logs = _logs(folder)
        self.channel, theirs = context.Pipe(duplex=False)
        arguments = (folder.root, folder.lease_seconds, work, config.ray, processes, self.logs, theirs)
        self.process = context.Process(target=_drive_ray, args=arguments)
        self.process.start()
        theirs.close()

    def is_alive(self) -> bool:
        is_alive = self.process.is_alive()
        with contextlib.suppress(EOFError):  # it has ended without sending an error
            if self.channel.poll():
                raise self.channel.recv()
        return is_alive

    def close(self) -> None:
        self.process.join(CLOSING_SECONDS)
        self.process.terminate()
        self.process.join()


def _launch_ray(folder: UnitFolder, work: Work, config: BulkConfig, processes: int) -> _Launched:
    if importlib.util.find_spec("ray") is None:
        raise UserError("bulk.executor=ray", found="Ray is not installed", remedy="pip install 'speechweave[ray]'")
    return _RayJob(folder, work, config, processes)


def _drive_ray(
    root: Path, lease_seconds: float, work: Work, options: RayConfig, processes: int, logs: str, channel: Connection
) -> None:
    """Main function of the driver's process: start or join Ray, run the tasks, exit with the parent."""
    end_with_parent()
    import ray
    from datatrove.executor.ray import RayPipelineExecutor

    local = {"num_cpus": processes * options.cpus, "include_dashboard": False, "log_to_driver": False}
    try:
        ray.init(**({"address": options.address} if options.address else local))
    except Exception as error:  # some of its time-outs are plain exceptions
        found = f"Ray does not start ({str(error).splitlines()[0] if str(error) else error!r})"
        channel.send(UserError("bulk.executor=ray", found=found, remedy="see ray's own log, or call again"))
        sys.exit(3)
    executor = RayPipelineExecutor(
        [_step(UnitFolder(root, lease_seconds), work)],
        tasks=processes,
        logging_dir=logs,
        skip_completed=False,
        cpus_per_task=options.cpus,
        gpus_per_task=options.gpus,
        mem_per_cpu_gb=options.memory_gb,
    )
    try:
        executor.run()
    except Exception as error:  # a worker's exception: the parent sees which units are left
        print(f"ray: {error}", file=sys.stderr, flush=True)
    ray.shutdown()


class _SlurmJob(_Launched):
    """An array job of SLURM, alive as long as `squeue` lists it."""

    def __init__(self, job: str, logs: str, poll_seconds: float) -> None:
        self.job, self.logs, self.poll_seconds = job, logs, poll_seconds

    def is_alive(self) -> bool:
        queued = subprocess.run(["squeue", "-h", "-j", self.job], capture_output=True, text=True)
        return bool(queued.stdout.strip())


def _launch_slurm(folder: UnitFolder, work: Work, config: BulkConfig, processes: int) -> _Launched:
    from datatrove.executor.slurm import SlurmPipelineExecutor

    options = config.slurm
    check_option(bool(options.partition), "bulk.slurm.partition", "", "name the cluster's partition")
    logs = _logs(folder)
    activate = Path(sys.prefix) / "bin" / "activate"
    executor = SlurmPipelineExecutor(
        [_step(folder, work)],
        tasks=processes,
        time=options.time,
        partition=options.partition,
        qos=options.qos,
        cpus_per_task=options.cpus,
        mem_per_cpu_gb=options.memory_gb,
        gpus_per_task=options.gpus,
        env_command=options.setup or (f"source {activate}" if activate.exists() else None),
        sbatch_args=dict(options.sbatch),
        job_name=f"speechweave-{folder.root.name}",
        logging_dir=logs,
        skip_completed=False,
        mail_type="NONE",
        requeue=True,
    )
    try:
        executor.run()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        found, remedy = (
            f"sbatch does not work ({error})",
            "call it on a machine of the cluster, or set bulk.executor=local",
        )
        raise UserError("bulk.executor=slurm", found=found, remedy=remedy) from error
    return _SlurmJob(str(executor.job_id), logs, options.poll_seconds)


def _step(folder: UnitFolder, work: Work) -> Any:
    from .datatrove_step import UnitsStep

    return UnitsStep(str(folder.root.absolute()), work, folder.lease_seconds)


def _logs(folder: UnitFolder) -> str:
    """A log folder for this call alone: datatrove's marks of finished ranks there mean nothing to another call."""
    return os.fspath((folder.root / "logs" / time.strftime("%Y%m%d-%H%M%S")).absolute())


LAUNCHERS: dict[str, Callable[[UnitFolder, Work, BulkConfig, int], _Launched]] = {
    "slurm": _launch_slurm,
    "ray": _launch_ray,
}
