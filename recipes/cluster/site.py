"""Site options: queue, container and network, as a cluster's owner decides them."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option

LAUNCHERS = ("slurm", "torchrun")
RUNTIMES = ("none", "pyxis", "apptainer")


@dataclass(kw_only=True)
class SiteConfig(Options):
    """Options ``site.*`` of ``speechweave submit``.

    Attributes:
        launcher: ``slurm`` (sbatch scripts) or ``torchrun`` (plain scripts, one call a node).
        partition: SLURM partition ("" = the default one).
        account: SLURM account.
        time: limit of one job, HH:MM:SS; a job that reaches it saves and is put back into the queue.
        signal_seconds: how long before the limit SIGTERM comes; it must cover one step and one checkpoint.
        max_restarts: a job that fails is put back this often; 0 never.
        runtime: ``none``, ``pyxis`` (srun's plugin for enroot) or ``apptainer``.
        container: image of recipes/containers/Dockerfile: .sqsh or registry path (pyxis), .sif (apptainer).
        mounts: of the container, ``[/data:/data,/runs:/runs]``.
        workdir: of the code, where ``python -m lm.train`` works ("" = where the command is called).
        python: the interpreter.
        cpus_per_gpu: cores of one process.
        socket_interface: NCCL_SOCKET_IFNAME: the interface of NCCL's bootstrap, e.g. ``eth0`` ("" = NCCL's guess).
        infiniband: NCCL_IB_HCA: the adapters that carry data, e.g. ``mlx5`` ("" = NCCL's guess).
        sbatch: further options of sbatch, e.g. ``{constraint: h100}``.
        environment: further variables, ``{NAME: value}``.
    """

    launcher: str = option("slurm", one_of=LAUNCHERS)
    partition: str = ""
    account: str = ""
    time: str = "24:00:00"
    signal_seconds: int = option(600, at_least=60)
    max_restarts: int = option(5, at_least=0)
    runtime: str = option("none", one_of=RUNTIMES)
    container: str = ""
    mounts: list[str] = option([])
    workdir: str = ""
    python: str = "python"
    cpus_per_gpu: int = option(12, at_least=1)
    socket_interface: str = ""
    infiniband: str = ""
    sbatch: dict[str, str] = option({})
    environment: dict[str, str] = option({})

    def __post_init__(self) -> None:
        super().__post_init__()
        both = "site.runtime and site.container go together"
        check_option((self.runtime == "none") == (not self.container), "site.container", self.container, both)
