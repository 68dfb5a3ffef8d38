"""The stage contract: skipped when done, rerun when changed, nothing lost, one clear paragraph for a user's mistake."""

from __future__ import annotations

import dataclasses
import errno
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.artefact import atomic_folder, atomic_path, identity, write_json
from runtime.config import option
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig, exclusive, input_fingerprint, without_places


@dataclass(kw_only=True)
class PartConfig:
    steps: int = 3

    def __post_init__(self) -> None:
        check_option(self.steps > 0, "part.steps", self.steps, "give a positive number")


@dataclass(kw_only=True)
class ToyConfig(StageConfig):
    """A toy.

    Attributes:
        source: a file to read.
    """

    part: PartConfig = field(default_factory=PartConfig)
    source: str | None = None


@dataclass(kw_only=True)
class GrownPart(PartConfig):
    tolerance: float = option(0.25, is_later=True)


@dataclass(kw_only=True)
class GrownConfig(ToyConfig):
    """A toy of a later version.

    Attributes:
        limit: an option added later.
        kinds: another, whose default is a list.
    """

    part: GrownPart = field(default_factory=GrownPart)
    limit: int = option(1, is_later=True)
    kinds: list[str] = option([], is_later=True)


RUNS = SimpleNamespace()  # the implementations of `make_stage`


def make_stage(calls: list[int], failure: Exception | None = None) -> Stage[ToyConfig]:
    def run(config: ToyConfig, run: Run) -> dict[str, Any]:
        with run.progress(config.part.steps, "counting") as bar:
            for _ in range(config.part.steps):
                bar.update()
        calls.append(config.part.steps)
        if failure is not None:
            raise failure
        (run.folder / "output.txt").write_text(str(config.part.steps))
        return {"steps": config.part.steps}

    name = f"run_{len(vars(RUNS))}"
    setattr(RUNS, name, run)
    return Stage(
        name="toy.stage",
        config=ToyConfig,
        implementation=f"{__name__}:RUNS.{name}",
        summary="toy",
        inputs=lambda c: [c.source],
        example="out=x",
    )


def test_second_call_is_skipped_and_a_changed_one_keeps_the_old_output(tmp_path: Path) -> None:
    calls: list[int] = []
    stage = make_stage(calls)
    out = tmp_path / "toy"
    assert stage.main([f"out={out}"]) == 0
    assert stage.main([f"out={out}"]) == 0
    assert calls == [3]
    assert stage.main([f"out={out}", "part.steps=5"]) == 0
    assert calls == [3, 5]
    assert (out / "output.txt").read_text() == "5"
    assert (tmp_path / "toy.previous-1" / "output.txt").read_text() == "3"
    assert json.loads((out / "metrics.json").read_text()) == {"steps": 5}
    record = json.loads((out / "run.json").read_text())
    assert {"versions", "git_commit", "config", "fingerprint", "command"} <= set(record)


def test_a_speed_option_changes_nothing(tmp_path: Path) -> None:
    calls: list[int] = []
    stage = dataclasses.replace(make_stage(calls), speed_options=("source",), inputs=lambda config: [])
    for source in ("null", "one", "two"):
        assert stage.main([f"out={tmp_path / 'toy'}", f"source={source}"]) == 0
    assert calls == [3]


def test_an_option_added_later_counts_only_where_it_is_set(tmp_path: Path) -> None:
    calls: list[int] = []
    stage = make_stage(calls)
    grown = dataclasses.replace(stage, config=GrownConfig)
    assert stage.main([f"out={tmp_path / 'toy'}"]) == 0
    assert grown.main([f"out={tmp_path / 'toy'}"]) == 0 and len(calls) == 1
    assert grown.main([f"out={tmp_path / 'toy'}", "part.tolerance=0.5"]) == 0 and len(calls) == 2
    assert grown.main([f"out={tmp_path / 'toy'}", "part.tolerance=0.5", "limit=2"]) == 0 and len(calls) == 3
    before = ToyConfig(out="toy")
    assert identity(GrownConfig(out="toy")) == identity(before)  # of an artefact, too
    assert identity(GrownConfig(out="toy", part=GrownPart(tolerance=0.5))) != identity(before)


def test_a_users_mistake_passes_between_processes() -> None:
    error = UserError("file.json, line 3", found="no text.", remedy="write one")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.remedy) == (UserError, str(error), error.remedy)


def test_a_changed_input_runs_again_and_a_moved_one_does_not(tmp_path: Path) -> None:
    calls: list[int] = []
    stage = make_stage(calls)
    source = tmp_path / "in.txt"
    source.write_text("a")
    arguments = [f"out={tmp_path / 'toy'}", f"source={source}"]
    stage.main(arguments)
    source.write_text("b")
    stage.main(arguments)
    assert len(calls) == 2
    moved = source.rename(tmp_path / "other.txt")
    stage.main([arguments[0], f"source={moved}"])
    assert len(calls) == 2


def test_only_values_name_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An input whose path is also the name of an option is moved like any other."""
    calls: list[int] = []
    stage = make_stage(calls)
    monkeypatch.chdir(tmp_path)
    for name in ("part", "steps", "other"):
        Path(name).write_text("a")
        assert stage.main(["out=toy", f"source={name}"]) == 0
    assert len(calls) == 1


def test_fingerprints_are_pinned(tmp_path: Path) -> None:
    """Those of finished runs: input paths are replaced by fingerprints where a value begins with them."""
    read = {"runs/tokens": "0123", "runs/more": "4567"}
    options = {
        "a": "runs/tokens/train.parquet",
        "b": ["runs/more", "runs/tokens_2"],
        "c": {"runs/more": 1, "d": None},
    }
    assert without_places(options, read) == {
        "a": "0123/train.parquet",
        "b": ["4567", "0123_2"],
        "c": {"runs/more": 1, "d": None},
    }
    (tmp_path / "in.txt").write_text("a")
    make_stage([]).main([f"out={tmp_path / 'toy'}", f"source={tmp_path / 'in.txt'}"])
    assert json.loads((tmp_path / "toy/done.json").read_text())["fingerprint"] == "77b3d311178b53f3"


def test_a_failed_stage_is_run_again(tmp_path: Path) -> None:
    calls: list[int] = []
    assert make_stage(calls, RuntimeError("defect")).main([f"out={tmp_path / 'toy'}"]) == 1
    assert make_stage(calls).main([f"out={tmp_path / 'toy'}"]) == 0
    assert calls == [3, 3]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("part.stepz=3", "option part.stepz: no such option. did you mean part.steps? See --help"),
        ("part.steps=many", "option part.steps"),
        ("part.steps=-1", "option part.steps: found -1. give a positive number"),
        ("source=/nowhere/file", "/nowhere/file: no such file or folder"),
        ("steps", "argument 'steps': not of the form key=value"),
        ("--config", "option --config: no file name"),
    ],
)
def test_mistakes_are_one_paragraph(
    argument: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make_stage([]).main([f"out={tmp_path / 'toy'}", argument]) == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert "Traceback" not in printed


def test_missing_out_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert make_stage([]).main([]) == 2
    assert "option out: not given" in capsys.readouterr().err


def test_full_disk_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x.bin"))
    assert make_stage([], full).main([f"out={tmp_path / 'toy'}"]) == 2
    assert "the disk is full" in capsys.readouterr().err


def test_two_calls_never_share_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "toy").mkdir()
    with exclusive(tmp_path / "toy"):
        assert make_stage([]).main([f"out={tmp_path / 'toy'}"]) == 2
    assert "another process is writing here" in capsys.readouterr().err


def test_a_place_where_no_folder_can_be_made_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/below")):
        assert make_stage([]).main([f"out={place}"]) == 2
        assert "no folder, and none can be made there" in capsys.readouterr().err


def test_a_run_never_moves_its_own_input_away(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[int] = []
    stage, out = make_stage(calls), tmp_path / "toy"
    assert stage.main([f"out={out}"]) == 0
    for source in (out, out / "output.txt"):
        assert stage.main([f"out={out}", f"source={source}", "part.steps=5"]) == 2
        assert "the output of another run, which this one reads" in capsys.readouterr().err
    assert (out / "output.txt").read_text() == "3" and calls == [3]
    assert [entry.name for entry in tmp_path.iterdir()] == ["toy"]


def test_config_file_then_overrides(tmp_path: Path) -> None:
    file = tmp_path / "toy.yaml"
    file.write_text(f"out: {tmp_path / 'toy'}\npart: {{steps: 7}}\n")
    config = make_stage([]).compose(["--config", str(file), "seed=9"])
    assert (config.part.steps, config.seed) == (7, 9)


def test_atomic_writes_leave_the_old_content_on_failure(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "a.json") as path:
        path.write_text("half")
        raise RuntimeError
    assert json.loads((tmp_path / "a.json").read_text()) == {"x": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    with atomic_folder(tmp_path / "f") as folder:
        (folder / "one").write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "f") as folder:
        (folder / "two").write_text("2")
        raise RuntimeError
    assert [file.name for file in (tmp_path / "f").iterdir()] == ["one"]


def test_input_fingerprint_is_of_the_stage_that_wrote_it(tmp_path: Path) -> None:
    stage = make_stage([])
    stage.main([f"out={tmp_path / 'toy'}"])
    assert input_fingerprint(tmp_path / "toy" / "output.txt") == input_fingerprint(tmp_path / "toy")
    with pytest.raises(UserError, match="no such file"):
        input_fingerprint(tmp_path / "none")
