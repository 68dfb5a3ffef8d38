"""A run that was interrupted ends as one that was not."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.training.config import LmTrainConfig
from tests.support.changed_options import check_changed_options
from tests.support.commands import Commands
from tests.support.permits import is_running, wait_for
from tests.support.tiny_lm import train_and_die


def weights_of(out: Path) -> dict[str, Any]:
    from megatron.core import dist_checkpointing

    from lm.training.checkpoint import find_checkpoint

    tensors = dist_checkpointing.load_plain_tensors(str(find_checkpoint(out)))
    return {name: value.double().numpy() for name, value in tensors.items() if hasattr(value, "double")}


def assert_same_end(run_ranks: Any, one: Path, other: Path) -> None:
    ours, theirs = run_ranks(lambda: [weights_of(one), weights_of(other)], 1)[0]
    assert sorted(ours) == sorted(theirs)
    for name, value in ours.items():
        assert np.array_equal(value, theirs[name]), name
    assert (one / "curve.jsonl").read_bytes() == (other / "curve.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("size", "options"),
    [(1, {}), (2, {"tensor": 2}), (2, {"distributed_optimizer": True}), (1, {"precision": "bf16", "dropout": 0.1})],
    ids=["plain", "tensor", "distributed optimizer", "bf16 with dropout"],
)
def test_killed_run_ends_bit_for_bit_the_same(
    size: int, options: dict[str, Any], tiny: Any, run_ranks: Any, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = options | {"layers": 2, "validate_every": 3}
    expected = run_ranks(lambda: tiny.train(whole, checkpoint_every=4, **options), size)[0]
    killed = run_ranks(lambda: train_and_die(tiny, broken, 9, signal.SIGKILL, **options), size)
    assert killed == [None] * size
    assert sorted(entry.name for entry in (broken / "checkpoint").iterdir()) == ["step_00000004", "step_00000008"]
    resumed = run_ranks(lambda: tiny.train(broken, checkpoint_every=4, **options), size)[0]
    assert resumed.rows == expected.rows
    assert_same_end(run_ranks, whole, broken)


def train_until_writing(tiny: Any, out: Path, fault: str, **options: Any) -> Any:
    """Train, but the second checkpoint's writer fails: it dies with the trainer amid the data, or the disk is full."""
    from megatron.core.dist_checkpointing.strategies import filesystem_async

    writer = filesystem_async.FileSystemWriterAsync
    write, finish, trainer = writer.write_preloaded_data, writer.finish, os.getpid()
    is_second = (out / "checkpoint/step_00000004").exists  # the writer is a fork

    def failing_write(transforms: Any, number: int, bucket: Any, *queues: Any, **more: Any) -> None:
        if not is_second() or fault == "metadata":
            write(transforms, number, bucket, *queues, **more)
        elif fault == "full":
            write(transforms, number, ("/dev/full", *bucket[1:]), *queues, **more)
        else:
            Path(bucket[0]).write_bytes(b"half")
            (out / f"writer-{os.getpid()}").touch()
            os.kill(trainer, signal.SIGKILL)
            time.sleep(3600)

    def failing_finish(self: Any, *arguments: Any) -> None:
        if is_second() and fault == "metadata":
            os.kill(trainer, signal.SIGKILL)
        finish(self, *arguments)

    writer.write_preloaded_data, writer.finish = staticmethod(failing_write), failing_finish  # this process is a fork
    return tiny.train(out, checkpoint_every=4, **options)


@pytest.fixture(scope="module")
def whole(tiny: Any, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run_ranks(lambda: tiny.train(folder, layers=2, checkpoint_every=4), 1)
    return folder


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("fault", ["data", "metadata"])
def test_kill_during_a_save_leaves_the_one_before(
    fault: str, is_async: bool, tiny: Any, whole: Path, run_ranks: Any, tmp_path: Path
) -> None:
    options = {"layers": 2, "async_save": is_async}
    assert run_ranks(lambda: train_until_writing(tiny, tmp_path, fault, **options), 1) == [None]
    entries = sorted(entry.name for entry in (tmp_path / "checkpoint").iterdir())
    assert entries == [".step_00000008", "step_00000004"]
    writers = [int(file.name.removeprefix("writer-")) for file in tmp_path.glob("writer-*")]
    assert bool(writers) == (fault == "data")
    wait_for(lambda: not any(is_running(writer) for writer in writers))  # none outlives its trainer
    run_ranks(lambda: tiny.train(tmp_path, checkpoint_every=4, **options), 1)
    assert sorted(entry.name for entry in (tmp_path / "checkpoint").iterdir()) == ["step_00000008", "step_00000012"]
    assert_same_end(run_ranks, whole, tmp_path)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_full_disk_is_an_error_and_harms_nothing(is_async: bool, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"could not be written .*No space left.*make room"):
        run_ranks(lambda: train_until_writing(tiny, tmp_path, "full", layers=1, async_save=is_async), 1)
    assert (tmp_path / "checkpoint/step_00000004/checkpoint.json").is_file()
    assert not (tmp_path / "checkpoint/step_00000008").exists()


def test_async_saves_of_two_processes_are_the_same(tiny: Any, whole: Path, run_ranks: Any, tmp_path: Path) -> None:
    """Written while training goes on, a checkpoint holds its own step: going on from each ends the same."""
    options = {"layers": 2, "checkpoint_every": 4, "distributed_optimizer": True, "keep": 3}
    for name in ("sync", "async"):
        run_ranks(lambda: tiny.train(tmp_path / name, async_save=name == "async", **options), 2)  # noqa: B023
    for step in ("step_00000004", "step_00000008", "step_00000012"):
        ours, theirs = run_ranks(
            lambda: [weights_of(tmp_path / name / "checkpoint" / step) for name in ("sync", "async")], 1  # noqa: B023
        )[0]  # fmt: skip
        assert sorted(ours) == sorted(theirs)
        for name, value in ours.items():
            assert np.array_equal(value, theirs[name]), (step, name)


def test_keeps_the_newest_and_every_so_many(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    run_ranks(lambda: tiny.train(tmp_path, layers=1, checkpoint_every=1, keep=2, keep_every=5), 1)
    kept = [int(entry.name.removeprefix("step_")) for entry in sorted((tmp_path / "checkpoint").iterdir())]
    assert kept == [5, 10, 11, 12]


PLAIN = {
    "tensor to pipeline": ((2, {"tensor": 2}), (2, {"pipeline": 2})),
    "data to one": ((2, {}), (1, {})),
    "one to data": ((1, {}), (2, {})),
    "both to context": ((4, {"tensor": 2, "pipeline": 2}), (2, {"context": 2})),
    "virtual to tensor and sequence": ((2, {"pipeline": 2, "virtual": 2}), (2, {"tensor": 2, "sequence": True})),
}
DISTRIBUTED = {
    "distributed optimizer, data to one": ((2, {}), (1, {})),
    "distributed optimizer, one to data": ((1, {}), (2, {})),
    "distributed optimizer, data to data and tensor": ((2, {}), (4, {"tensor": 2})),
    "distributed optimizer, tensor to pipeline": ((2, {"tensor": 2}), (2, {"pipeline": 2})),
    "distributed optimizer, data and pipeline to tensor": ((4, {"pipeline": 2}), (2, {"tensor": 2})),
}
STEPS = {"steps": 16, "micro_batch": 4, "warmup_steps": 2, "checkpoint_every": 0}


@pytest.fixture(scope="module")
def unbroken(tiny: Any, run_ranks: Any, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    folder = tmp_path_factory.mktemp("unbroken")
    return run_ranks(lambda: tiny.train(folder, **STEPS), 1)[0].losses


@pytest.mark.parametrize("name", [*PLAIN, *DISTRIBUTED])
def test_another_layout_goes_on_as_the_unbroken_run(
    name: str, tiny: Any, unbroken: list[float], run_ranks: Any, tmp_path: Path
) -> None:
    """Terminated after 8 steps, called again under another layout: steps 9 to 16 lose as they would have."""
    (size, first), (new_size, then) = (PLAIN | DISTRIBUTED)[name]
    options = STEPS | {"distributed_optimizer": name in DISTRIBUTED}

    def terminated() -> int:
        try:
            train_and_die(tiny, tmp_path, 7, signal.SIGTERM, **options, **first)
        except SystemExit as end:
            return int(str(end.code))
        return -1

    assert run_ranks(terminated, size) == [0] * size
    assert (tmp_path / "checkpoint/step_00000008").is_dir()
    resumed = run_ranks(lambda: tiny.train(tmp_path, **options, **then), new_size)[0]
    assert unbroken[7] > 1.1 * unbroken[15]
    assert len(resumed.losses) == 16 and resumed.losses[8:] == pytest.approx(unbroken[8:], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"distributed_optimizer": True}, "distributed_optimizer=false, but this run has true"),
        ({"precision": "bf16"}, "precision=fp32, but this run has bf16"),
    ],
)
def test_an_optimizer_state_of_another_kind_is_refused(
    options: dict[str, Any], words: str, tiny: Any, whole: Path, run_ranks: Any
) -> None:
    with pytest.raises(RuntimeError, match=words):
        run_ranks(lambda: tiny.train(whole, layers=2, steps=13, **options), 1)


def test_killed_stage_is_called_again(tiny: Any, tmp_path: Path, commands: Commands) -> None:
    """kill -9 of the whole command, while it trains; the same command then finishes the job."""
    out = tmp_path / "out"
    arguments = [f"out={out}", *words_of(tiny.config(out, layers=2, steps=16, warmup_steps=4, checkpoint_every=2))]
    first = commands.sabotaged("training=12", "lm.train", *arguments)  # it cannot be done before it is killed
    wait_for(lambda: list(out.glob("checkpoint/step_*")) or first.poll() is not None)
    assert first.poll() is None
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert not (out / "done.json").exists()
    second = commands.run("lm.train", *arguments)
    assert second.returncode == 0, second.stderr
    assert "resumed at step" in second.stdout
    assert (out / "done.json").exists() and (out / "checkpoint/step_00000016").is_dir()
    rows = (out / "curve.jsonl").read_text().splitlines()
    assert len(rows) == 16


def test_a_killed_imitation_by_divergence_ends_as_the_unbroken_one(
    vectors: Any, run_ranks: Any, tmp_path: Path
) -> None:
    """By the command's words: kill -9 while a connector learns the distributions over the transcripts' answers."""
    options: dict[str, Any] = {"forms": ("chat",), "packing": "best_fit", "layers": 2, "steps": 8, "init_std": 0.3}
    options |= {"checkpoint_every": 3, "validate_every": 4, "sequence_length": 48}
    words = [*words_of(vectors.config(tmp_path, **options)), "speech.train=[connector]", "speech.loss=kl"]

    def command(out: Path, fatal_step: int | None = None) -> int:
        from lm.train import STAGE
        from lm.training.trainer import Trainer

        step = Trainer._step

        def deadly(self: Any, number: int, batches: Any) -> Any:
            if number == fatal_step:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, number, batches)

        Trainer._step = deadly  # type: ignore[method-assign]  # this process is a fork
        return STAGE.main([f"out={out}", *words])

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run_ranks(lambda: command(whole), 1) == [0]
    assert run_ranks(lambda: command(broken, 5), 1) == [None]
    assert [entry.name for entry in (broken / "checkpoint").iterdir()] == ["step_00000003"]
    assert run_ranks(lambda: command(broken), 1) == [0]
    assert_same_end(run_ranks, whole, broken)
    rows = [json.loads(line) for line in (whole / "curve.jsonl").read_text().splitlines()]
    assert len({row["kl"] for row in rows if "kl" in row}) == 8


def words_of(config: LmTrainConfig, *left_out: str) -> list[str]:
    """A config as the words of lm.train's command line, without ``out``."""
    words = [f"vocabulary={config.vocabulary}", *(f"corpora.{name}={path}" for name, path in config.corpora.items())]
    for prefix, values in (("model", config.model), ("train", config.train)):
        words += [f"{prefix}.{name}={getattr(values, name)}" for name in values.__dataclass_fields__]
    return [word for word in words if word.split("=")[0] not in left_out]


def test_changed_options(tiny: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], commands: Commands) -> None:
    """By the command line, each call a process of its own; another layout goes on, too."""
    words = words_of(tiny.config(tmp_path, layers=2, warmup_steps=1), "train.steps")

    def main(arguments: list[str]) -> int:
        done = commands.run("lm.train", *arguments)
        print(done.stdout, done.stderr)
        return done.returncode

    neutral = ["train.micro_batch=4", "train.checkpoint_every=3", "parallel.sequence=false"]
    check_changed_options(main, words, tmp_path / "run", capfd, steps="train.steps", neutral=neutral)
