"""Launch of stages as processes on this machine, one or several ranks each, that end with their parent.

A stage runs as ``python -m room.stage --config FILE`` in processes of its own, so that a crash or a kill of one stage
never touches another, and each imports only its own libraries. On clusters the same modules run
under torchrun or SLURM.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.process import die_with_parent
from runtime.progress import QUIET_VARIABLE


def reserve_port() -> socket.socket:
    """Reserve a TCP port on the loopback interface, as long as the socket stays open.

    It is bound and does not listen: a process that allows the reuse of addresses, as torch's store does, may still
    listen at its number. (Ranks take seconds to start, in which a port that is merely free may find another user.)
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder


class Ranks:
    """The running processes of one stage.

    Args:
        module: the stage's module, e.g. ``"lm.train"``.
        arguments: its command line.
        processes: number of ranks; more than one get torch.distributed's environment variables.
        threads: OpenMP threads of each rank.
        log: file that receives the output of every rank (appended).
    """

    def __init__(self, module: str, arguments: Sequence[str], *, processes: int, threads: int, log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning OpenMP threads slow shared cores five-fold
            "GOMP_SPINCOUNT": "0",
            "PYTHONUNBUFFERED": "1",
            QUIET_VARIABLE: "file",
        }
        self.port = reserve_port()
        self.processes: list[subprocess.Popen[bytes]] = []
        with log.open("ab") as output:
            for rank in range(processes):
                ranked = dict(environment)
                if processes > 1:
                    ranked |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes)}
                    ranked |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(self.port.getsockname()[1])}
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
