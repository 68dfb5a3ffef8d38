"""datatrove's SLURM and Ray executors start workers of the same job: the same bytes, whoever starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import BulkConfig, RayConfig, SlurmConfig, run_job
from runtime.config import Options, compose_config
from runtime.errors import UserError
from tests.support.unit_work import Sums, check_whole, clean, units

ROOT = Path(__file__).resolve().parents[3]

SBATCH = """#!/bin/sh
# A stub: keeps the script, runs each task of its array one after the other in the background, and tells a job id.
for last; do :; done
count=$(ls "$STUB"/script-*.sh 2>/dev/null | wc -l)
cp "$last" "$STUB/script-$count.sh"
echo "$@" >> "$STUB/arguments"
if [ "$count" = 0 ]; then
  tasks=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$last")
  touch "$STUB/queued"
  (for task in $(seq 0 "$tasks"); do
     SLURM_ARRAY_TASK_ID=$task SLURM_NODELIST=here sh "$STUB/script-0.sh" >> "$STUB/log" 2>&1 &
   done; wait; rm "$STUB/queued") >/dev/null 2>&1 &
fi
echo "Submitted batch job 17"
"""
SRUN = '#!/bin/sh\nwhile [ "$1" != launch_pickled_pipeline ]; do shift; done\nexec "$@"\n'
SQUEUE = '#!/bin/sh\nif [ -e "$STUB/queued" ]; then echo "17 gpu speechweave R"; fi\n'
SCONTROL = "#!/bin/sh\necho here\n"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A "cluster": stubs of SLURM's commands, which run what they are given on this machine."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, script in {"sbatch": SBATCH, "srun": SRUN, "squeue": SQUEUE, "scontrol": SCONTROL}.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STUB", str(folder))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


def slurm(**options: object) -> BulkConfig:
    return BulkConfig(executor="slurm", slurm=SlurmConfig(partition="gpu", poll_seconds=0.1, **options))  # type: ignore[arg-type]


def test_slurm_runs_the_job_to_its_end(cluster: Path, tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean", 8)
    folder = UnitFolder.create(tmp_path / "job", units(8))
    config = slurm(gpus=1, cpus=2, memory_gb=8, sbatch={"account": "speech"})
    records = list(run_job(folder, Sums(tmp_path / "job/log", 0.0), config, processes=2))
    assert len(records) == 8
    check_whole(folder, expected)
    script = (cluster / "script-0.sh").read_text()
    for line in ("partition=gpu", "gpus=1", "cpus-per-task=2", "mem-per-cpu=8G", "array=0-1", "account=speech"):
        assert f"#SBATCH --{line}" in script
    assert "srun" in script and "launch_pickled_pipeline" in script and "bin/activate" in script
    assert subprocess.run(["sh", "-n", cluster / "script-0.sh"]).returncode == 0


def test_slurm_workers_that_end_too_early_are_reported(cluster: Path, tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path / "job", units(2))
    (cluster / "srun").write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(UserError, match=r"its workers have ended, 2 of 2 units are left.*logs"):
        list(run_job(folder, Sums(tmp_path / "log"), slurm(), processes=1))


def test_slurm_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = UnitFolder.create(tmp_path / "job", units(2))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"executor=slurm: sbatch does not work"):
        list(run_job(folder, Sums(tmp_path / "log"), slurm(), processes=1))
    with pytest.raises(UserError, match="partition"):
        list(run_job(folder, Sums(tmp_path / "log"), BulkConfig(executor="slurm"), processes=1))


@pytest.mark.slow
def test_ray_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "300")
    monkeypatch.setenv("RAY_worker_register_timeout_seconds", "600")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "0")  # it kills workers where others leave little memory
    expected = clean(tmp_path / "clean", 8)
    folder = UnitFolder.create(tmp_path / "job", units(8))
    config = BulkConfig(executor="ray", ray=RayConfig(memory_gb=0.2))
    try:
        assert len(list(run_job(folder, Sums(tmp_path / "job/log"), config, processes=2))) == 8
    except UserError as error:  # a local Ray gives its parts 30 seconds each: too few on a machine under heavy load
        if "Ray does not start" not in str(error):
            raise
        pytest.skip(str(error))
    check_whole(folder, expected)


@dataclass(kw_only=True)
class BulkStageConfig(Options):
    """A stage's config, of which only the bulk options count here."""

    bulk: BulkConfig = field(default_factory=BulkConfig)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("bulk.executor=cloud", "option bulk.executor: found 'cloud'. choose one of local, slurm, ray"),
        ("bulk.lease_seconds=0", "option bulk.lease_seconds: found 0.0"),
        ("bulk.max_failed_share=1.5", "option bulk.max_failed_share: found 1.5"),
        ("bulk.slurm.cpus=0", "option bulk.slurm.cpus: found 0"),
        ("bulk.ray.memory_gb=0", "option bulk.ray.memory_gb: found 0.0"),
    ],
)
def test_options_are_checked(override: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        compose_config(BulkStageConfig, [override])
