"""The law of changed options, for every trainer: a training that has a checkpoint never starts anew by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Main = Callable[[list[str]], int]


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]


def check_changed_options(
    main: Main, words: list[str], out: Path, capfd: pytest.CaptureFixture[str], *, steps: str, neutral: list[str]
) -> None:
    """Call a trainer by its command line again and again, with other options each time.

    Args:
        main: the stage's, of ``words`` without ``out``.
        words: options of a training of four steps, each of which has its row in the curve.
        out: run folder.
        capfd: reads what the trainer prints.
        steps: name of the option of steps.
        neutral: options that have no part in the result, with other values than in ``words``.
    """

    def call(*more: str, status: int = 0) -> str:
        assert main([*words, f"out={out}", f"{steps}=4", *more]) == status
        printed = capfd.readouterr()
        return printed.out + printed.err

    call()
    first = rows(out)
    assert [row["step"] for row in first] == [1, 2, 3, 4]
    for option in neutral:
        assert "up to date" in call(option), option
    printed = call(f"{steps}=6", *neutral)
    assert "goes on from the checkpoint" in printed and f"{steps}: 4 -> 6" in printed
    assert [row["step"] for row in rows(out)] == [1, 2, 3, 4, 5, 6]
    assert rows(out)[:4] == first
    before = sorted((file, file.stat().st_mtime_ns) for file in (out / "checkpoint").rglob("*"))
    refused = call(f"{steps}=6", "seed=2", status=2)
    assert "seed: 1 -> 2" in refused and "restart=true" in refused
    refused = call(status=2)  # fewer steps than the checkpoint has
    assert f"option {steps}: 4, and a checkpoint of step 6" in refused and "restart=true" in refused
    assert sorted((file, file.stat().st_mtime_ns) for file in (out / "checkpoint").rglob("*")) == before
    call(f"{steps}=6", "seed=2", "restart=true")
    assert [row["step"] for row in rows(out)] == [1, 2, 3, 4, 5, 6] and rows(out)[0] != first[0]
    assert rows(out.with_name(f"{out.name}.previous-1"))[:4] == first
    assert "up to date" in call(f"{steps}=6", "seed=2", "restart=true")
