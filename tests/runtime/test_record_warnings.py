"""Warnings of records: each once, from threads and worker processes, in the stage's folder, output and metrics."""

from __future__ import annotations

import dataclasses
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.bulk.job import UnitFolder
from runtime.bulk.launch import BulkConfig, run_job
from runtime.bulk.unit import Unit
from runtime.bulk.workers import ConfiguredWork, UnitFunction, check_failed
from runtime.record_warnings import collected_warnings, warn_of_record
from runtime.stage import Run, Stage, StageConfig


def test_each_is_kept_once_from_all_threads_and_others_pass(capsys: pytest.CaptureFixture[str]) -> None:
    def read() -> None:
        for number in range(5):
            warn_of_record(f"{number}.wav", "odd")

    with warnings.catch_warnings(record=True) as others, collected_warnings(is_shown=True) as seen:
        warnings.simplefilter("always", RuntimeWarning)
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        warnings.warn("another", RuntimeWarning, stacklevel=1)
    assert sorted(seen) == [f"{number}.wav: odd" for number in range(5)]
    assert [str(other.message) for other in others] == ["another"]
    assert capsys.readouterr().err.count("warning: ") == 3  # the others are counted


@dataclass(kw_only=True)
class OddConfig(StageConfig):
    """Units whose records look wrong.

    Attributes:
        processes: worker processes.
    """

    processes: int = 1


def open_odd(config: OddConfig, number: int) -> UnitFunction:
    def work(attempt: Any) -> dict[str, Any]:
        warn_of_record(f"{attempt.unit.name}.wav", "odd")
        warn_of_record("same.wav", "odd")
        return {}

    return work


def run_odd(config: OddConfig, run: Run) -> dict[str, Any]:
    job = UnitFolder.create(run.folder / "parts", [Unit(f"unit-{number}", {}) for number in range(4)])
    for _ in run_job(job, ConfiguredWork(config, open_odd), BulkConfig(), processes=config.processes):
        pass
    check_failed(job, 0.0)
    return {"units": 4}


def do_nothing(config: OddConfig, run: Run) -> dict[str, Any]:
    return {"a": 1}


STAGE = Stage(
    name="odd",
    config=OddConfig,
    implementation=f"{__name__}:run_odd",
    summary="",
    inputs=lambda config: [],
    example="",
)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_bulk_stage_counts_those_of_its_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], processes: int
) -> None:
    config = OddConfig(out=str(tmp_path / "out"), processes=processes)
    assert STAGE.execute(config) == {"units": 4, "record_warnings": 5}
    assert "5 records look wrong, see" in capsys.readouterr().out
    first = (tmp_path / "out/warnings.txt").read_text()
    (tmp_path / "out/done.json").unlink()
    assert STAGE.execute(config)["record_warnings"] == 5  # all units were done before
    assert (tmp_path / "out/warnings.txt").read_text() == first


def test_a_stage_without_warnings_says_nothing(tmp_path: Path) -> None:
    quiet = dataclasses.replace(STAGE, name="quiet", implementation=f"{__name__}:do_nothing")
    assert quiet.execute(OddConfig(out=str(tmp_path / "out"))) == {"a": 1}
    assert not (tmp_path / "out/warnings.txt").exists()
