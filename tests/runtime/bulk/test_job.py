"""Laws of the unit layer: whatever happens to workers, each unit is done once, with the bytes of a clean run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from runtime.bulk.job import UnitFolder
from runtime.bulk.lease import Clock, Heartbeat, Lease, host_id, is_held, process_start_time
from runtime.bulk.unit import Unit
from runtime.bulk.workers import ConfiguredWork, check_failed, finish_units, run_worker
from runtime.errors import UserError
from tests.support.permits import Permits, is_group_running, is_stopped, wait_for
from tests.support.unit_work import Sums, check_whole, clean, files, open_sums, units

ROOT = Path(__file__).resolve().parents[3]
UNIT_WORK = (sys.executable, "-m", "tests.support.unit_work")
LEASE = 1.5  # seconds, where a worker that stands still is to be passed over; elsewhere none should ever run out
HOUR = 3600.0


def test_number_of_workers_changes_no_byte(tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean")
    folder = UnitFolder.create(tmp_path / "three", units(24))
    records = list(finish_units(folder, Sums(tmp_path / "three/log"), processes=3))
    assert sum(record.result["sum"] for record in records) == sum(11 * number % 7 for number in range(24))
    tried = [line.split()[0] for line in (tmp_path / "three/log").read_text().splitlines()]
    assert sorted(tried) == sorted(unit.name for unit in folder.units)  # nothing twice
    check_whole(folder, expected)
    assert list(finish_units(folder, Sums(tmp_path, is_broken=True), processes=2)) == []


def test_a_config_is_the_work(tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean", 6)
    folder = UnitFolder.create(tmp_path / "configured", units(6))
    work = ConfiguredWork(Sums(tmp_path / "configured/log"), open_sums)
    assert len(list(finish_units(folder, work, processes=2))) == 6
    check_whole(folder, expected)


def test_five_kills_and_another_number_of_workers(tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean", 60)
    root, permits = tmp_path / "killed", Permits(tmp_path / "permits")
    folder = UnitFolder.create(root, units(60))
    draw = random.Random(5)
    for number in range(5):
        command = [*UNIT_WORK, "run_rationed", str(root), "2", str(permits.folder)]
        job = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
        await_some(folder, permits, draw.randint(1, 5))
        if number % 2:  # one worker at first, the whole job a little later
            worker = int((root / "log").read_text().split()[-1])
            os.kill(worker, signal.SIGKILL)
            await_some(folder, permits, 3)
        assert job.poll() is None
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        wait_for(lambda group=job.pid: not is_group_running(group))  # type: ignore[misc]
        permits.withdraw()
    assert 5 < folder.num_done() < 60
    list(finish_units(UnitFolder(root), Sums(root / "log"), processes=3))
    check_whole(folder, expected)
    log = [line.split() for line in (root / "log").read_text().splitlines()]
    assert len(log) <= 60 + 5 * 3  # a kill costs at most what was being worked at


def await_some(folder: UnitFolder, permits: Permits, count: int) -> None:
    """Let some units be begun and wait until ``count`` of them are done: others may be in the midst then."""
    wanted = folder.num_done() + count
    permits.give(count + 2)  # a worker that is killed takes its permit along
    wait_for(lambda: folder.num_done() >= wanted)


def test_a_stopped_worker_is_passed_over_and_does_no_harm_when_it_wakes(tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean", 10)
    root = tmp_path / "stopped"
    folder = UnitFolder.create(root, units(10), LEASE)
    name = units(10)[3].name
    work = Sums(root / "log", seconds=0.01, stopping=name)
    zombie = subprocess.Popen([*UNIT_WORK, "run_stopping", str(root), str(LEASE), name], cwd=ROOT)
    wait_for(lambda: is_stopped(zombie.pid))
    assert len(list(run_worker(folder, work))) == 7  # waits for the lease, no longer
    assert zombie.poll() is None and folder.is_settled()
    attempts = [line.split()[1][:4] for line in (root / "log").read_text().splitlines() if line.startswith(name)]
    assert attempts == ["try1", "try2"]
    os.kill(zombie.pid, signal.SIGCONT)
    assert zombie.wait(timeout=300) == 0
    check_whole(folder, expected)


def test_a_stopped_worker_of_the_pool_holds_nothing_up(tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean", 6)
    folder = UnitFolder.create(tmp_path / "pool", units(6), LEASE)
    work = Sums(tmp_path / "pool/log", seconds=0.01, stopping=units(6)[2].name)
    assert len(list(finish_units(folder, work, processes=2))) == 6
    check_whole(folder, expected)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_poisoned_unit_costs_itself_only(tmp_path: Path, processes: int) -> None:
    expected = clean(tmp_path / "clean", 8)
    root, name = tmp_path / "poisoned", units(8)[5].name
    folder = UnitFolder.create(root, units(8))
    assert len(list(finish_units(folder, Sums(root / "log", poison=name), processes=processes))) == 7
    assert folder.status(with_totals=True).failed == [name] and folder.status().is_settled
    assert (root / f"failed/{name}.txt").read_text().count("ValueError: a poisoned record") == 3
    with pytest.raises(UserError, match=rf"1 of 8 units given up: {name} \(ValueError: a poisoned record\)"):
        check_failed(folder, 0.1)
    check_failed(folder, 0.125)
    assert len(list(finish_units(folder, Sums(root / "log"), processes=processes))) == 1  # mended: tried again
    check_whole(folder, expected)


def test_a_deadly_unit_is_given_up(tmp_path: Path) -> None:
    root, name = tmp_path, units(8)[1].name
    folder = UnitFolder.create(root, units(8))
    assert len(list(finish_units(folder, Sums(root / "log", 0.0, deadly=name), processes=2))) == 7
    assert folder.failed_names() == [name] and "6 workers died" in folder.failure(name)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_ails_all_workers_ends_the_job(tmp_path: Path, processes: int) -> None:
    folder = UnitFolder.create(tmp_path, units(4), LEASE)
    with pytest.raises(UserError, match="model: no weights"):
        list(finish_units(folder, Sums(tmp_path / "log", is_broken=True), processes=processes))
    status = folder.status()
    assert (status.units, status.done, status.failed) == (4, 0, [])
    # A worker killed in the midst of a claim leaves a lease that does not tell whose it is: time makes it stale.
    wait_for(lambda: folder.status().working == 0)


def test_status_counts_living_workers(tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path, units(4))
    first, second = folder.claim(), folder.claim(1, 2)
    assert first is not None and second is not None and first.unit != second.unit
    with first, second:
        assert folder.status().working == 2
        first.path("bin").write_bytes(b"x")
        assert first.commit({"sum": 3, "word": "x"})
        status = folder.status(with_totals=True)
        assert (status.done, status.working, status.totals["sum"]) == (1, 1, 3)
    assert folder.status().working == 0  # the second gave its lease back
    assert next(iter(run_worker(folder, Sums(tmp_path / "log"), 1, 2))) == second.unit.name


def test_only_the_first_finisher_commits(tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path, units(1), LEASE)
    late = folder.claim()
    assert late is not None
    late.lease.__exit__(None, None, None)  # its heart stops
    os.utime(late.lease.path, (0, 0))
    early = folder.claim()
    assert early is not None and early.name.startswith("try2-")
    for attempt in (early, late):
        attempt.path("bin").write_text(attempt.name)
    assert early.commit({}) and not late.commit({})
    assert files(tmp_path) == {f"{early.unit.name}.bin": early.name.encode()}
    early.lease.__exit__(None, None, None)


def test_killed_between_commit_and_renaming(tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path, units(1))
    list(finish_units(folder, Sums(tmp_path / "log", 0.0), processes=1))
    (unit,) = folder.units
    content = folder.path(unit, "bin").read_bytes()
    folder.path(unit, "bin").rename(tmp_path / f"{unit.name}.{folder.record(unit).attempt}.bin")
    assert folder.path(unit, "bin").read_bytes() == content


def test_staleness_is_measured_by_the_file_systems_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    clock = Clock(tmp_path / "clock")
    lease = Lease.claim(tmp_path / "lease", Heartbeat(HOUR))
    assert lease is not None and Lease.claim(tmp_path / "lease", Heartbeat(HOUR)) is None
    with lease:
        assert is_held(lease.path, HOUR, clock)
        os.utime(lease.path, (0, clock.path.stat().st_mtime - HOUR - 1))  # its next heartbeat is ten minutes off
        assert not is_held(lease.path, HOUR, clock)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    lease.path.write_text(f'{{"home": "{host_id()}", "pid": {gone.pid}, "born": "123"}}')
    assert not is_held(lease.path, HOUR, clock)  # a dead process of this machine is seen at once
    lease.path.write_text(f'{{"home": "elsewhere", "pid": {gone.pid}, "born": "123"}}')
    assert is_held(lease.path, HOUR, clock)
    lease.path.write_text("")
    assert is_held(lease.path, HOUR, clock) and process_start_time(os.getpid())


def test_a_holder_that_lives_keeps_touching_its_lease(tmp_path: Path) -> None:
    lease = Lease.claim(tmp_path / "lease", Heartbeat(0.6))  # a heartbeat every tenth of a second
    assert lease is not None
    with lease:
        for _ in range(3):
            os.utime(lease.path, (0, 0))
            wait_for(lambda: lease.path.stat().st_mtime > 0)


def test_many_claim_at_once(tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path, units(40))
    claimed: list[str] = []

    def claim_all() -> None:
        mine = UnitFolder(tmp_path)
        while (attempt := mine.claim()) is not None:
            claimed.append(attempt.unit.name)
            attempt.commit({})
            attempt.lease.__exit__(None, None, None)

    threads = [threading.Thread(target=claim_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(unit.name for unit in folder.units)


def test_the_list_is_frozen(tmp_path: Path) -> None:
    UnitFolder.create(tmp_path, units(4))
    assert list(UnitFolder.create(tmp_path, units(4)).units) == units(4)
    with pytest.raises(UserError, match="the units of another job"):
        UnitFolder.create(tmp_path, units(5))
    with pytest.raises(UserError, match=r"no job \(no units.jsonl\)"):
        UnitFolder(tmp_path / "none")
    (tmp_path / "units.jsonl").write_text('{"name": 1}\n')
    with pytest.raises(UserError, match="not a list of units"):
        UnitFolder(tmp_path)
    assert Unit("a", {"b": 1}).work == {"b": 1}
