"""Laws of the local launcher: ranks see each other, a failed one ends the stage, no orphan outlives a kill -9."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipes.launch import PRELOAD_VARIABLE, Ranks, fork_server, reserve_port
from recipes.plan import load_recipe, make_plan
from recipes.quickstart import Runner
from runtime.errors import UserError
from runtime.fork_server import ForkServer
from tests.support.permits import is_running, wait_for

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of its own that prints its rank, then does what its argument says."""
    source = """
        import os, sys, time
        said = f"rank {os.environ.get('RANK')} of {os.environ.get('WORLD_SIZE')} {os.getpid()}"
        os.write(1, f"{said}{os.linesep}".encode())  # in one piece: the ranks write into one file
        if sys.argv[1] == "fail" and os.environ.get("RANK") == "1":
            sys.exit(3)
        if sys.argv[1] in ("fail", "sleep"):
            time.sleep(3600)
    """
    (tmp_path / "toy_rank.py").write_text(textwrap.dedent(source))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    return "toy_rank"


@pytest.fixture(params=["forks", "fresh interpreters"])
def server(request: pytest.FixtureRequest, module: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ForkServer | None]:
    """The parent of the ranks, or none."""
    monkeypatch.setattr("recipes.launch.LIBRARIES", ("json",))
    monkeypatch.setenv(PRELOAD_VARIABLE, "0" if request.param == "fresh interpreters" else "1")
    with fork_server() as server:
        assert (server is None) == (request.param == "fresh interpreters")
        yield server


def end_of(ranks: Ranks) -> int | None:
    statuses: list[int | None] = []
    wait_for(lambda: statuses.append(ranks.poll()) or statuses[-1] is not None)  # type: ignore[func-returns-value]
    return statuses[-1]


def test_ranks_get_their_numbers(module: str, server: ForkServer | None, tmp_path: Path) -> None:
    ranks = Ranks(module, ["end"], processes=2, threads=1, log=tmp_path / "log", server=server)
    assert end_of(ranks) == 0
    printed = (tmp_path / "log").read_text()
    assert "rank 0 of 2" in printed
    assert "rank 1 of 2" in printed


def test_one_failed_rank_ends_the_others(module: str, server: ForkServer | None, tmp_path: Path) -> None:
    ranks = Ranks(module, ["fail"], processes=2, threads=1, log=tmp_path / "log", server=server)
    assert end_of(ranks) == 3
    assert all(process.poll() is not None for process in ranks.processes)


def test_a_step_that_ends_well_but_unfinished_is_not_done(tmp_path: Path) -> None:
    """A terminated training step saves and leaves with status 0; the steps that need it must not begin."""
    plan = make_plan(load_recipe(["recipe=smallest", f"quickstart.out={tmp_path}"]))
    runner, step = Runner(plan), plan.steps["corpus"]  # it reads nothing of other steps
    ranks = Ranks("json.tool", ["--help"], processes=1, threads=1, log=tmp_path / "log")
    assert end_of(ranks) == 0
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
        time.sleep(3600)
    """
    launcher = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT)
    log = tmp_path / "log"
    wait_for(lambda: log.exists() and log.read_text().count("\n") == 2)
    pids = [int(line.split()[-1]) for line in log.read_text().splitlines()]
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    wait_for(lambda: not any(is_running(pid) for pid in pids))


def test_the_port_of_the_ranks_is_theirs_until_they_listen() -> None:
    """Nobody else gets it in the seconds in which they start; torch's store may have it all the same."""
    from torch.distributed import TCPStore

    with reserve_port() as holder, socket.socket() as other:
        port = holder.getsockname()[1]
        with pytest.raises(OSError):
            other.bind(("127.0.0.1", port))
        store = TCPStore("127.0.0.1", port, 1, is_master=True)
        store.set("rank 0", "is there")
        assert TCPStore("127.0.0.1", port, 1, is_master=False).get("rank 0") == b"is there"
