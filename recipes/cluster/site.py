"""What a cluster's owner decides: queue, container, network. Everything here is our choice or the site's."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.errors import check_option

LAUNCHERS = ("slurm", "torchrun")
RUNTIMES = ("none", "pyxis", "apptainer")


@dataclass(kw_only=True)
class SiteConfig:
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

    launcher: str = "slurm"
    partition: str = ""
    account: str = ""
    time: str = "24:00:00"
    signal_seconds: int = 600
    max_restarts: int = 5
    runtime: str = "none"
    container: str = ""
    mounts: list[str] = field(default_factory=list)
    workdir: str = ""
    python: str = "python"
    cpus_per_gpu: int = 12
    socket_interface: str = ""
    infiniband: str = ""
    sbatch: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_option(self.launcher in LAUNCHERS, "site.launcher", self.launcher, f"choose {' or '.join(LAUNCHERS)}")
        check_option(self.runtime in RUNTIMES, "site.runtime", self.runtime, f"choose one of {', '.join(RUNTIMES)}")
        both = "site.runtime and site.container go together"
        check_option((self.runtime == "none") == (not self.container), "site.container", self.container, both)
        check_option(self.signal_seconds >= 60, "site.signal_seconds", self.signal_seconds, "give 60 or more")
        check_option(self.max_restarts >= 0, "site.max_restarts", self.max_restarts, "give 0 or more")
        check_option(self.cpus_per_gpu >= 1, "site.cpus_per_gpu", self.cpus_per_gpu, "give 1 or more")
