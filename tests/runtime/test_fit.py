"""Laws of the optimisation loop: a killed and resumed fit equals an unbroken one; bad steps are skipped."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from runtime.errors import UserError
from runtime.fit import fit, learning_rate
from runtime.fit_checkpoint import checkpoint_files, damage_of, load_fit_checkpoint, save_fit_checkpoint
from runtime.fit_config import FitConfig
from runtime.stage import Run


class Killed(BaseException):
    pass


class Toy(nn.Module):
    """A net with dropout (draws random numbers) and a running buffer, as the codebook is one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.3), nn.Linear(16, 1))
        self.register_buffer("mean", torch.zeros(8))

    def loss(self, step: int) -> dict[str, Tensor]:
        x = torch.randn(32, 8, generator=torch.Generator().manual_seed(step))
        with torch.no_grad():
            self.mean.lerp_(x.mean(0), 0.1)
        error = (self.net(x - self.mean) - x[:, :1] * x[:, 1:2]).square().mean()
        return {"loss": error, "size": self.mean.norm()}


def toy(seed: int = 0) -> Toy:
    torch.manual_seed(seed)
    return Toy()


def config(**options: object) -> FitConfig:
    defaults = {"steps": 40, "warmup_steps": 5, "checkpoint_every": 7, "log_every": 4, "precision": "fp32"}
    return FitConfig(**(defaults | options))


@pytest.mark.parametrize("killed_at", [3, 7, 22, 39])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_killed_and_resumed_equals_unbroken(tmp_path: Path, killed_at: int, precision: str) -> None:
    fit_config = config(precision=precision)
    unbroken = toy()
    fit(unbroken, unbroken.loss, fit_config, make_run(tmp_path / "unbroken"), description="toy")

    broken = toy()

    def loss_until_killed(step: int) -> dict[str, Tensor]:
        if step == killed_at:
            raise Killed
        return broken.loss(step)

    with pytest.raises(Killed):
        fit(broken, loss_until_killed, fit_config, make_run(tmp_path / "broken"), description="toy")
    resumed = toy()
    torch.randn(100)  # another random state than at the kill
    fit(resumed, resumed.loss, fit_config, make_run(tmp_path / "broken"), description="toy")

    for name, value in unbroken.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert (tmp_path / "unbroken/curve.jsonl").read_text() == (tmp_path / "broken/curve.jsonl").read_text()


def test_a_finished_fit_computes_nothing_more(tmp_path: Path) -> None:
    model = toy()
    fit(model, model.loss, config(), make_run(tmp_path), description="toy")
    again = toy(seed=5)
    fit(again, lambda step: pytest.fail("a step was taken"), config(), make_run(tmp_path), description="toy")
    assert torch.equal(again.net[0].weight, model.net[0].weight)
    assert [row["step"] for row in rows(tmp_path)] == list(range(4, 41, 4))
    assert list((tmp_path / "tensorboard").iterdir())


def test_a_torn_checkpoint_is_passed_over_with_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flipped byte and a torn file: the one before is taken up, and the end is that of an unbroken fit."""
    model = toy()
    fit(model, model.loss, config(), make_run(tmp_path), description="toy")
    newest, _ = checkpoint_files(tmp_path / "checkpoint")
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    (tmp_path / "checkpoint/step-00000099.pt").write_bytes(b"torn")
    again = toy(seed=5)
    fit(again, again.loss, config(), make_run(tmp_path), description="toy")
    assert torch.equal(again.net[0].weight, model.net[0].weight)
    said = capsys.readouterr().out
    assert f"{newest}: its checksum differs" in said and "step-00000099.pt: it is torn" in said


def test_the_checksum_is_that_of_the_state_not_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bit that the disk loses while a checkpoint is written is seen when it is read."""
    keep = os.fsync

    def lose_a_bit(file: int) -> None:
        with Path(f"/proc/self/fd/{file}").open("r+b") as written:
            if written.read(2) == b"PK":
                written.seek(300)
                byte = written.read(1)
                written.seek(300)
                written.write(bytes([byte[0] ^ 1]))
        keep(file)

    save_fit_checkpoint(tmp_path, 1, {"weight": torch.ones(1000)})
    monkeypatch.setattr("os.fsync", lose_a_bit)
    save_fit_checkpoint(tmp_path, 2, {"weight": torch.ones(1000)})
    newest, before = checkpoint_files(tmp_path)
    assert (damage_of(newest), damage_of(before)) == ("its checksum differs", "")
    state, (skipped,) = load_fit_checkpoint(tmp_path)
    assert state is not None and torch.equal(state["weight"], torch.ones(1000)) and newest.name in skipped


def test_a_fit_without_a_whole_checkpoint_does_not_start_anew(tmp_path: Path) -> None:
    model = toy()
    fit(model, model.loss, config(), make_run(tmp_path), description="toy")
    for file in checkpoint_files(tmp_path / "checkpoint"):
        file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match="no whole checkpoint"):
        fit(model, lambda step: pytest.fail("a step was taken"), config(), make_run(tmp_path), description="toy")


def test_bad_steps_are_skipped_and_too_many_end_the_fit(tmp_path: Path) -> None:
    model = toy()

    def loss(step: int) -> dict[str, Tensor]:
        terms = model.loss(step)
        return {name: term * float("nan") if step in (4, 9) else term for name, term in terms.items()}

    fit(model, loss, config(), make_run(tmp_path / "some"), description="toy")
    assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())
    hopeless = toy()
    with pytest.raises(UserError, match="not finite"):
        fit(
            hopeless,
            lambda step: {"loss": hopeless.loss(step)["loss"] * float("nan")},
            config(max_bad_steps=3),
            make_run(tmp_path / "all"),
            description="toy",
        )


def test_learning_rate_rises_and_falls() -> None:
    fit_config = config(learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(fit_config, step) for step in range(fit_config.steps)]
    assert rates[4] == 1.0 and rates[0] == pytest.approx(0.2) and rates[-1] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


@pytest.mark.parametrize("options", [{"steps": 0}, {"warmup_steps": 99}, {"precision": "fp8"}, {"learning_rate": 0.0}])
def test_a_wrong_option_is_named(options: dict[str, object]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(UserError, match=rf"option (fit\.)?{name}: found {value!r}\. (choose|give|it must)"):
        config(**options)


def make_run(folder: Path) -> Run:
    folder.mkdir(parents=True, exist_ok=True)
    return Run(folder)


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
