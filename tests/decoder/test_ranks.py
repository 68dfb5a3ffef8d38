"""Data parallel: two ranks with the same global batch train as one process does, stay equal, resume, write once."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from decoder.training.recordings import WaveformCache, read_split
from recipes.launch import Ranks
from tests.support.commands import Commands

SIZES = [f"{part}.{name}" for part in ("encoder", "flow.estimator") for name in ("width=32", "layers=1", "heads=2")]
DROPOUT = ["encoder.dropout=0.2", "flow.estimator.dropout=0.2"]
FIT = ["fit.warmup_steps=2", "fit.checkpoint_every=3", "fit.log_every=1", "fit.precision=fp32", "batch=4"]


def vocoder_words(spoken: Path) -> list[str]:
    return [f"corpus={spoken}/corpus", "model.width=16", "model.layers=1", "crop_frames=32", "evaluate=1", *FIT]


def decoder_words(spoken: Path) -> list[str]:
    """A decoder with everything that draws: crops, prefixes, clips, dropout, conditions, times and noise."""
    words = [f"corpus={spoken}/corpus", f"tokens={spoken}/tokens", f"vocoder={spoken}/vocoder", "voices=[all]"]
    words += ["speaker.embedding=8", "speaker.width=16", "speaker.layers=2", "prefix_share=0.5", "block_tokens=3"]
    return [*words, "crop_tokens=5", "flow.steps=4", "flow.guidance=0.7", *SIZES, *DROPOUT, *FIT]


Start = Callable[..., int]


@pytest.fixture
def start(commands: Commands) -> Start:
    """``start(module, words, out, ranks=, last=-1)`` runs a stage, up to a step; the exit status."""

    def run(module: str, words: list[str], out: Path, *, ranks: int, last: int = -1) -> int:
        arguments = [module, str(out), str(last), *words, f"out={out}"]
        running = Ranks(
            "tests.support.kept_ranks",
            arguments,
            processes=ranks,
            threads=1,
            log=out.parent / "log",
            server=commands.server,
        )
        statuses = [process.wait(timeout=600) for process in running.processes]
        running.stop()
        if last < 0:
            assert statuses == [0] * ranks, (out.parent / "log").read_text()[-2000:]
        return max(statuses)

    return run


def curve(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "curve.jsonl").read_text().splitlines()]


def assert_alike(out: Path, alone: Path, *, adversary_step: float = math.inf) -> None:
    """Two ranks, and one process: the same losses, and the same weights on both ranks.

    Gradients are summed in another order. Adam's first steps of the discriminators have the size of the rate whatever a
    gradient's size is, so they make whole steps of rounding near zero: from the step after them on, three digits stay.
    """
    rows, expected = curve(out), curve(alone)
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            bound = 1e-5 if row["step"] <= adversary_step + 1 else 1e-3
            assert math.isclose(value, other[name], rel_tol=bound, abs_tol=1e-5), (row["step"], name)
    first, second = (torch.load(f"{out}-rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    single = torch.load(f"{alone}-rank-0.pt", weights_only=True)
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
        torch.testing.assert_close(value, single[name], rtol=1e-3, atol=1e-4)


def test_two_ranks_train_as_one_process_does(spoken: Path, start: Start) -> None:
    start_step = 3
    adversary = ["adversary.weight=1.0", "adversary.is_small=true", f"adversary.start_step={start_step}"]
    vocoder = [*vocoder_words(spoken), *adversary, "fit.steps=6"]
    for ranks, out in ((1, "vocoder"), (2, "vocoder_2")):
        start("decoder.train_vocoder", vocoder, spoken / out, ranks=ranks)
    assert_alike(spoken / "vocoder_2", spoken / "vocoder", adversary_step=start_step)
    for ranks, out in ((1, "decoder"), (2, "decoder_2")):
        start("decoder.train", [*decoder_words(spoken), "fit.steps=6"], spoken / out, ranks=ranks)
    assert_alike(spoken / "decoder_2", spoken / "decoder")
    distilled = [word for word in decoder_words(spoken) if not word.startswith("flow.")]
    distilled += [f"distil_from={spoken}/decoder", "flow.steps=2", "fit.steps=6"]
    for ranks, out in ((1, "student"), (2, "student_2")):
        start("decoder.train", distilled, spoken / out, ranks=ranks)
    assert_alike(spoken / "student_2", spoken / "student")


def test_two_ranks_resume_exactly_and_one_writes(spoken: Path, start: Start) -> None:
    words = [*vocoder_words(spoken), "fit.steps=6"]
    start("decoder.train_vocoder", words, spoken / "whole", ranks=2)
    assert start("decoder.train_vocoder", words, spoken / "broken", ranks=2, last=5) != 0
    assert not (spoken / "broken/done.json").exists()
    start("decoder.train_vocoder", words, spoken / "broken", ranks=2)
    for file in ("artefact/model.safetensors", "metrics.json", "curve.jsonl"):
        assert (spoken / "broken" / file).read_bytes() == (spoken / "whole" / file).read_bytes(), file
    assert max(file.name for file in (spoken / "whole/checkpoint").glob("*.pt")) == "step-00000006.pt"
    assert len(list((spoken / "whole/tensorboard").iterdir())) == 1


def test_a_batch_that_cannot_be_shared_out_is_refused(spoken: Path, start: Start) -> None:
    words = [word for word in vocoder_words(spoken) if not word.startswith("batch=")]
    with pytest.raises(AssertionError, match="give a multiple of the 2 processes"):
        start("decoder.train_vocoder", [*words, "batch=3", "fit.steps=2"], spoken / "odd", ranks=2)


def test_lengths_are_known_without_reading_again(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recordings = WaveformCache(read_split(spoken / "corpus", "train", [], 0.0), cache_bytes=0)
    lengths = [len(recordings.audio(index)) for index in range(len(recordings))]
    monkeypatch.setattr(WaveformCache, "_load", lambda *_: pytest.fail("read again"))
    assert [recordings.length(index) for index in range(len(recordings))] == lengths


def test_torchrun_starts_the_ranks(spoken: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command = [*launcher, "-m", "decoder.train_vocoder", *vocoder_words(spoken)]
    command += ["fit.steps=3", f"out={spoken}/launched"]
    subprocess.run(command, check=True, timeout=600, cwd=Path(__file__).resolve().parents[2])
    assert (spoken / "launched/done.json").is_file()
