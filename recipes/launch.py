"""Launch of stages as processes on this machine, one or several ranks each, that end with their parent.

A stage runs as ``python -m room.stage --config FILE`` in processes of its own, so that a crash or a kill of one stage
never touches another. Stages of one thread a process are forks of one parent that has imported the libraries of their
room (`runtime.fork_server`), where a fork is safe: on Linux, without GPUs; ``SPEECHWEAVE_PRELOAD=0`` starts each as a
fresh interpreter. On clusters the same modules run under torchrun or SLURM.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from runtime.fork_server import ForkedCommand, ForkServer
from runtime.process import die_with_parent
from runtime.progress import QUIET_VARIABLE

PRELOAD_VARIABLE = "SPEECHWEAVE_PRELOAD"
RANK_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
# What stages import, as far as the process that imports it keeps one thread: of NeMo what does not come with Lightning.
LIBRARIES = (
    "torch",
    "torch._dynamo",
    "torch.utils.tensorboard",
    "megatron.core.models.gpt",
    "megatron.core.optimizer",
    "megatron.core.dist_checkpointing",
    "megatron.core.datasets.gpt_dataset",
    "transformers.models.llama.modeling_llama",
    "vector_quantize_pytorch",
    "scipy.signal",
    "numba",
    "lhotse",
)
ROOMS_WITHOUT = ("corpus", "recipes")  # their stages hardly import any of it


def reserve_port() -> socket.socket:
    """Reserve a TCP port on the loopback interface, as long as the socket stays open.

    It is bound and does not listen: a process that allows the reuse of addresses, as torch's store does, may still
    listen at its number. (Ranks take seconds to start, in which a port that is merely free may find another user.)
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


def rank_environment(threads: int) -> dict[str, str]:
    """The environment of a rank with OpenMP threads of its own, without `RANK_VARIABLES`."""
    return os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads slow shared cores five-fold
        "GOMP_SPINCOUNT": "0",
        "PYTHONUNBUFFERED": "1",
        QUIET_VARIABLE: "file",
    }


@contextlib.contextmanager
def fork_server() -> Iterator[ForkServer | None]:
    """The parent of ranks of one thread; None where each is started as a fresh interpreter."""
    if sys.platform != "linux" or os.environ.get(PRELOAD_VARIABLE) == "0":
        yield None
        return
    with ForkServer(rank_environment(threads=1), own=RANK_VARIABLES) as server:
        yield server


class Ranks:
    """The running processes of one stage.

    Args:
        module: the stage's module, e.g. ``"lm.train"``.
        arguments: its command line.
        processes: number of ranks; more than one get torch.distributed's environment variables.
        threads: OpenMP threads of each rank.
        log: file that receives the output of every rank (appended).
        server: forks the processes (`fork_server`); None: fresh interpreters.
    """

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        *,
        processes: int,
        threads: int,
        log: Path,
        server: ForkServer | None = None,
    ) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        environment = rank_environment(threads)
        self.port = reserve_port()
        self.processes: list[subprocess.Popen[bytes] | ForkedCommand] = []
        with log.open("ab") as output:
            for rank in range(processes):
                ranked = dict(environment)
                if processes > 1:
                    ranked |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
                    ranked |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port.getsockname()[1])}
                if server is not None:
                    libraries = () if module.split(".")[0] in ROOMS_WITHOUT else LIBRARIES
                    process = server.start(
                        module, arguments, output=output.fileno(), environment=ranked, libraries=libraries
                    )
                    self.processes.append(process)
                    continue
                command = [sys.executable, "-m", module, *arguments]
                self.processes.append(
                    subprocess.Popen(
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env=ranked,
                        preexec_fn=die_with_parent,
                    )
                )

    def poll(self) -> int | None:
        """None while running; else the exit status (the first bad one; the other ranks are stopped)."""
        states = [process.poll() for process in self.processes]
        bad = [state for state in states if state]
        if bad:
            self.stop()
            return bad[0]
        if None in states:
            return None
        self.port.close()
        return 0

    def stop(self) -> None:
        """Stop every rank: SIGTERM, and SIGKILL after 10 s."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.port.close()
