"""Laws of the local launcher: ranks see each other, a failed one ends the stage, no orphan outlives a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from corpus.errors import UserError
from recipes.launch import Ranks
from recipes.plan import load_recipe, make_plan
from recipes.quickstart import Runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of its own that prints its rank, then does what its argument says."""
    source = """
        import os, sys, time
        print("rank", os.environ.get("RANK"), "of", os.environ.get("WORLD_SIZE"), os.getpid(), flush=True)
        if sys.argv[1] == "fail" and os.environ.get("RANK") == "1":
            sys.exit(3)
        if sys.argv[1] in ("fail", "sleep"):
            time.sleep(60)
    """
    (tmp_path / "toy_rank.py").write_text(textwrap.dedent(source))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return "toy_rank"


def wait_for(ranks: Ranks, seconds: float = 20.0) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = ranks.poll()
        if status is not None:
            return status
        time.sleep(0.02)
    return None


def test_ranks_get_their_numbers(module: str, tmp_path: Path) -> None:
    ranks = Ranks(module, ["end"], processes=2, threads=1, log=tmp_path / "log")
    assert wait_for(ranks) == 0
    printed = (tmp_path / "log").read_text()
    assert "rank 0 of 2" in printed
    assert "rank 1 of 2" in printed


def test_one_failed_rank_ends_the_others(module: str, tmp_path: Path) -> None:
    ranks = Ranks(module, ["fail"], processes=2, threads=1, log=tmp_path / "log")
    assert wait_for(ranks) == 3
    assert all(process.poll() is not None for process in ranks.processes)


def test_a_step_that_ends_well_but_unfinished_is_not_done(tmp_path: Path) -> None:
    """A terminated training step saves and leaves with status 0; the steps that need it must not begin."""
    plan = make_plan(load_recipe(["recipe=smallest", f"quickstart.out={tmp_path}"]))
    runner, step = Runner(plan), plan.steps["corpus"]  # it reads nothing of other steps
    ranks = Ranks("json.tool", ["--help"], processes=1, threads=1, log=tmp_path / "log")
    assert wait_for(ranks) == 0
    runner.running[step.name] = ranks
    with pytest.raises(UserError, match="terminated before its end"):
        runner.settle(step, ranks, None)
    assert step.name not in runner.finished


def test_no_orphan_outlives_a_killed_launcher(module: str, tmp_path: Path) -> None:
    code = f"""
        import time
        from pathlib import Path
        from recipes.launch import Ranks
        Ranks({module!r}, ["sleep"], processes=2, threads=1, log=Path({str(tmp_path / "log")!r}))
        time.sleep(60)
    """
    launcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    log = tmp_path / "log"
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (not log.exists() or log.read_text().count("rank") < 2):
        time.sleep(0.02)
    pids = [int(line.split()[-1]) for line in log.read_text().splitlines()]
    assert len(pids) == 2
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and any(is_running(pid) for pid in pids):
        time.sleep(0.02)
    assert not any(is_running(pid) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
