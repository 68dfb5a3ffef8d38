"""Laws of the unit layer at many units: records lie in journals, each counts once, and the cost does not grow."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from runtime.bulk import job, unit_list, unit_records
from runtime.bulk.job import UnitFolder
from runtime.bulk.lease import Heartbeat, Lease
from runtime.bulk.unit import Unit
from runtime.bulk.unit_list import UnitList
from runtime.bulk.workers import finish_units, run_worker
from tests.support.unit_work import Sums, check_whole, clean, units

HOUR = 3600.0
FOLDER_UNITS = 40  # of the tests: a thousand commits to a disk take their time
MANY = 2 * FOLDER_UNITS + 5


@pytest.fixture(autouse=True)
def small_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (job, unit_list, unit_records):
        monkeypatch.setattr(module, "FOLDER_UNITS", FOLDER_UNITS)


def names(folder: UnitFolder) -> list[str]:
    return [unit.name for unit, _ in folder.records()]


def commit_next(folder: UnitFolder) -> str:
    """Claim a unit and make it done; returns its name."""
    attempt = folder.claim()
    assert attempt is not None
    with attempt:
        attempt.path("bin").write_bytes(b"x")
        assert attempt.commit({"sum": attempt.unit.work["seed"] % 7})
    return attempt.unit.name


def test_many_units_list_folders_once_and_lie_in_numbered_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir
    folder = UnitFolder.create(tmp_path, units(MANY))
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: listed.append(str(path)) or scandir(path))
        assert sum(1 for _ in run_worker(folder, Sums(tmp_path / "log", 0.0))) == MANY
    # done and failed of part-0 and part-1, of two blocks; the last block is too short to be worth it
    assert len(listed) == 8
    assert names(folder) == [unit.name for unit in folder.units]
    assert folder.units[MANY - 1].name == f"part-0/0002/unit-{MANY - 1:03d}" and len(folder.units.block(2)) == 5
    assert (tmp_path / f"part-0/0002/unit-{MANY - 1:03d}.bin").is_file()
    assert [unit.work["seed"] for unit, _ in folder.records()] == [11 * number for number in range(MANY)]
    assert len(list((tmp_path / "journals").glob("*.jsonl"))) == 3
    assert not [file for file in (tmp_path / "leases").rglob("*") if file.name.startswith("unit")]
    assert UnitFolder.create(tmp_path, units(MANY)).num_done() == MANY
    folder.tidy()
    assert folder.status(with_totals=True).totals["sum"] == sum(11 * number % 7 for number in range(MANY))


def earlier_layout(root: Path, count: int, done: int) -> None:
    """A job of ``count`` units as the version before journals wrote it, killed when ``done`` of them were done."""
    for part in ("part-0", "part-1"):
        for place in ("", "leases", "done", "failed"):
            (root / place / part).mkdir(parents=True)
    lines = [json.dumps({"name": unit.name, "work": unit.work}) + "\n" for unit in units(count)]
    (root / "units.jsonl").write_text("".join(lines))
    source = root.parent / "clean"
    for number, unit in enumerate(units(done)):
        (root / f"leases/{unit.name}.1").write_text('{"home": "elsewhere", "pid": 1, "born": "1"}')
        record = {"attempt": "try1-00c0ffee", "files": ["bin", "idx"], "result": {"sum": unit.work["seed"] % 7}}
        record |= {"seconds": 0.1, "cpu_seconds": 0.1, "warnings": []}
        (root / f"done/{unit.name}.done.json").write_text(json.dumps(record))
        for suffix in record["files"]:  # the last one was not renamed any more
            inner = "try1-00c0ffee." if number == done - 1 else ""
            shutil.copy(source / f"{unit.name}.{suffix}", root / f"{unit.name}.{inner}{suffix}")
    (root / "done/part-1/unit-000.try1-0badc0de").write_text("{")  # a proposal that was never linked


def test_a_job_of_the_earlier_layout_goes_on(tmp_path: Path) -> None:
    expected = clean(tmp_path / "clean", 12)
    earlier_layout(tmp_path / "job", 12, 5)
    folder = UnitFolder.create(tmp_path / "job", units(12))
    assert folder.num_done() == 5 and len(names(folder)) == 5 and not folder.is_settled()
    assert len(list(finish_units(folder, Sums(tmp_path / "log", 0.0), processes=2))) == 7
    assert folder.num_done() == 12
    check_whole(folder, expected)


def test_many_units_of_the_earlier_layout_keep_their_flat_names(tmp_path: Path) -> None:
    clean(tmp_path / "clean", 2)
    earlier_layout(tmp_path / "job", MANY, 2)
    folder = UnitFolder.create(tmp_path / "job", units(MANY))
    assert folder.units[MANY - 1].name == units(MANY)[-1].name
    assert len(names(folder)) == 2


@pytest.mark.parametrize("remnant", ["", '{"number": 1, "name": "part-'])
def test_a_record_whose_mark_was_never_linked_does_not_count(tmp_path: Path, remnant: str) -> None:
    folder = UnitFolder.create(tmp_path, units(3))
    first = commit_next(folder)
    (journal,) = (tmp_path / "journals").glob("*.jsonl")
    whole = journal.read_text()
    second = whole.replace('"number": 0', '"number": 1').replace(first, units(2)[1].name)
    with journal.open("a") as file:  # a kill between the record and its mark
        file.write(remnant or second)
    assert names(UnitFolder(tmp_path)) == [first]
    again = UnitFolder(tmp_path)
    with again.new_records() as new_records:
        assert [commit_next(again), commit_next(again)] == [unit.name for unit in units(3)[1:]]
        assert [record.result["sum"] for record in new_records()] == [11 % 7, 22 % 7]
        assert list(new_records()) == []
    assert names(again) == [unit.name for unit in units(3)]


def test_a_refused_record_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = UnitFolder.create(tmp_path, units(2), HOUR), UnitFolder(tmp_path, HOUR)
    late = folder.claim()
    assert late is not None
    late.lease.path.unlink()
    early = other.claim()
    assert early is not None and early.unit == late.unit
    link, links = os.link, []

    def link_after_the_other(source: Path, mark: Path) -> None:
        links.append(mark)
        if len(links) == 1:
            assert early.commit({"sum": 1})
        link(source, mark)

    with folder.new_records() as new_records:
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", link_after_the_other)
            with early, late:
                assert not late.commit({"sum": 2})
        commit_next(folder)  # in the journal of the refused record
        assert sorted(record.result["sum"] for record in new_records()) == [1, 11 % 7]
    assert [record.result["sum"] for _, record in folder.records()] == [1, 11 % 7]
    assert len(links) == 2


def test_a_full_disk_in_the_midst_of_a_commit_costs_that_unit_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = UnitFolder.create(tmp_path, units(4))
    commit_next(folder)
    write = os.write

    def write_a_part(handle: int, content: bytes) -> int:
        if content.startswith(b'{"number"'):
            write(handle, content[:20])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_a_part)
        with pytest.raises(OSError, match="No space left"):
            commit_next(folder)
    assert len(names(folder)) == 1 and folder.status().working == 0
    for _ in range(3):
        commit_next(folder)
    assert names(folder) == [unit.name for unit in units(4)] and folder.is_settled()


def test_a_copy_without_links_is_the_same_job(tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path / "job", units(6))
    done = [commit_next(folder) for _ in range(3)]
    shutil.copytree(tmp_path / "job", tmp_path / "copy")
    copy = UnitFolder(tmp_path / "copy")
    assert names(copy) == done and copy.record(copy.units[1]).result == {"sum": 11 % 7}
    assert [commit_next(copy) for _ in range(3)] == [unit.name for unit in units(6)[3:]]
    assert len(names(copy)) == 6 and len(names(folder)) == 3


def test_a_lease_given_back_late_removes_no_other(tmp_path: Path) -> None:
    late = Lease.claim(tmp_path / "lease", Heartbeat(HOUR))
    assert late is not None
    late.path.unlink()  # its unit was begun anew
    other = Lease.claim(tmp_path / "lease", Heartbeat(HOUR))
    assert other is not None
    late.give_back()
    assert other.path.exists()
    other.give_back()
    assert not other.path.exists()


def test_the_list_is_read_in_blocks(tmp_path: Path) -> None:
    folder = UnitFolder.create(tmp_path, (Unit(f"unit-{number}", {"at": number}) for number in range(2 * MANY)))
    listed = UnitList(tmp_path)
    assert [unit.work["at"] for unit in listed] == list(range(2 * MANY)) == [unit.work["at"] for unit in listed[:]]
    assert listed[-1].name == f"0004/unit-{2 * MANY - 1}" and listed[0].name == "unit-0"
    with pytest.raises(IndexError):
        listed[2 * MANY]
    assert len(folder.units) == 2 * MANY
