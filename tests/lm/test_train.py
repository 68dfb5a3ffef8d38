"""The stage: what it refuses, fine-tuning, bad steps, and what it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from lm.data.corpora import write_corpus
from lm.data.formats import text_document
from lm.data.vocabulary import build_vocabulary
from lm.training.config import LmTrainConfig
from runtime.errors import UserError


def test_writes_checkpoints_curve_and_metrics(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    trained = run_ranks(
        lambda: tiny.train(tmp_path, steps=9, checkpoint_every=2, validate_every=4, layers=1, log_every=2), 1
    )[0]
    kept = sorted(entry.name for entry in (tmp_path / "checkpoint").iterdir())
    assert kept == ["step_00000008", "step_00000009"]
    rows = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6, 8, 9]
    assert [row["step"] for row in rows if "val_loss.tts.speech" in row] == [4, 8, 9]
    assert {"loss", "loss.text", "loss.speech", "learning_rate", "gradient_norm"} <= set(rows[0])
    assert all(0 < row["target_share"] < 1 for row in rows)  # no target at a document's first token
    assert rows[-1]["val_loss.text"] == trained.metrics["val_loss.text"] < rows[1]["val_loss.text"]
    assert trained.metrics["tokens"] == 9 * 8 * 32 and trained.metrics["skipped_steps"] == 0
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_fine_tuning_begins_with_the_weights_only(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    first, tuned = tmp_path / "first", tmp_path / "tuned"
    base = run_ranks(lambda: tiny.train(first, steps=30), 1)[0]
    options = {"steps": 5, "warmup_steps": 1, "learning_rate": 1e-4, "final_learning_rate": 1e-5}
    got = run_ranks(lambda: tiny.train(tuned, init=str(first), tensor=2, forms=("tts",), **options), 2)[0]
    assert got.losses[0] == pytest.approx(base.metrics["val_loss.tts"], rel=0.1)
    assert got.metrics["val_loss.tts"] <= base.metrics["val_loss.tts"] * 1.01


def test_refuses_another_shape_or_vocabulary(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    run_ranks(lambda: tiny.train(tmp_path / "first", steps=5), 1)
    with pytest.raises(RuntimeError, match=r"model.ffn=48 \(this run: 64\)"):
        run_ranks(lambda: tiny.train(tmp_path / "second", init=str(tmp_path / "first"), ffn=64), 1)
    with pytest.raises(RuntimeError, match="no language model checkpoint"):
        run_ranks(lambda: tiny.train(tmp_path / "third", init=str(tmp_path)), 1)
    other = build_vocabulary(tiny.vocabulary._text, num_speech_tokens=16, speech_tokenizer="xyz")
    write_corpus(tmp_path / "text", "text", other, [text_document("bada", other)], [], {})

    def with_other_corpus() -> None:
        from lm.train import STAGE
        from runtime.stage import Run

        config = tiny.config(tmp_path / "fourth", forms=())
        config.corpora = {"text": str(tmp_path / "text")}
        STAGE.run(config, Run(tmp_path / "fourth"))

    with pytest.raises(RuntimeError, match=other.fingerprint):
        run_ranks(with_other_corpus, 1)


@pytest.mark.parametrize("damage", ["truncated shard", "missing shard", "missing metadata"])
def test_refuses_a_damaged_checkpoint(damage: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    run_ranks(lambda: tiny.train(tmp_path / "first", steps=5, layers=1), 1)
    folder = tmp_path / "first/checkpoint/step_00000005"
    shard = max(folder.glob("*.distcp"), key=lambda file: file.stat().st_size)
    if damage == "truncated shard":
        shard.write_bytes(shard.read_bytes()[:200])
    else:
        (shard if damage == "missing shard" else folder / ".metadata").unlink()
    with pytest.raises(RuntimeError, match="damaged checkpoint"):
        run_ranks(lambda: tiny.train(tmp_path / "second", steps=5, layers=1, init=str(tmp_path / "first")), 1)


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_refuses_a_damaged_corpus(damage: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    shutil.copytree(tiny.folder / "text", tmp_path / "text")
    binary = tmp_path / "text/train.bin"
    if damage == "truncated":
        binary.write_bytes(binary.read_bytes()[:-100])
    else:
        binary.unlink()

    def train() -> None:
        from lm.train import STAGE
        from runtime.stage import Run

        config = tiny.config(tmp_path / "out", forms=())
        config.corpora = {"text": str(tmp_path / "text")}
        STAGE.run(config, Run(tmp_path / "out"))

    words = {"truncated": r"train.bin: \d+ bytes where \d+ tokens", "missing": r"train.bin: no such file"}
    with pytest.raises(RuntimeError, match=words[damage]):
        run_ranks(train, 1)


def test_speed_is_counted_strictly() -> None:
    """Llama-3-8B as NVIDIA counts it: 14,451 tokens a second on a GPU are 744 TFLOP/s."""
    from lm.training.model_config import LmModelConfig
    from lm.training.trainer import log_line

    llama = LmModelConfig(layers=32, hidden=4096, heads=32, kv_heads=8, ffn=14336)
    flops = llama.flops_per_token(128256, 8192)
    assert 14451 * flops == pytest.approx(744e12, rel=2e-3)
    timing = {"tokens_per_second": 14451.0, "model_tflops_per_process": 743.8, "model_flops_utilisation": 0.376}
    row = {"loss": 2.0, "loss.text": 1.5, "z_loss": 0.01, "target_share": 0.63, "learning_rate": 1e-3}
    row["gradient_norm"] = 0.5
    line = log_line(10, 20, row, timing)
    assert line.endswith("z_loss 0.0100 | targets 63% | lr 0.001 | grad 0.500 | 14,451 tok/s | 744 TFLOP/s | MFU 37.6%")


def test_speed_reaches_tensorboard(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_ranks(lambda: tiny.train(tmp_path, steps=5, layers=1, peak_tflops=0.1), 1)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    speeds, tflops, shares = (
        [event.value for event in events.Scalars(name)]
        for name in ("tokens_per_second", "model_tflops_per_process", "model_flops_utilisation")
    )
    config = tiny.config(tmp_path, layers=1).model
    flops = config.flops_per_token(tiny.vocabulary.padded_size(config.vocabulary_multiple), 32)
    assert tflops == pytest.approx([1e-12 * flops * speed for speed in speeds], rel=1e-5)
    assert shares == pytest.approx([value / 0.1 for value in tflops], rel=1e-5)


def train_with_bad_steps(tiny: Any, out: Path, bad: set[int], **options: Any) -> Any:
    """Train with a loss that is not finite at the steps ``bad``."""
    from lm.training import passes as forward_backward
    from lm.training import trainer

    step = trainer.Trainer._step
    now = {"step": 0}

    def counting(self: Any, number: int, batches: Any) -> Any:
        now["step"] = number
        return step(self, number, batches)

    def bad_loss(inputs: Any, z_loss: float, losses: torch.Tensor) -> Any:
        return masked_loss(inputs, z_loss, losses * float("nan") if now["step"] in bad else losses)

    masked_loss = forward_backward._masked_loss
    trainer.Trainer._step, forward_backward._masked_loss = counting, bad_loss  # type: ignore[method-assign]  # a fork
    return tiny.train(out, **options)


def test_steps_that_are_not_finite_are_skipped_and_counted(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    options = {"layers": 2, "max_skipped_steps": 2}
    got = run_ranks(lambda: train_with_bad_steps(tiny, tmp_path / "two", {3, 5}, **options), 1)[0]
    assert got.metrics["skipped_steps"] == 2
    assert [row["step"] for row in got.rows if "loss" not in row] == [4, 6]
    assert got.rows[-1]["loss"] < got.rows[0]["loss"]
    seldom = run_ranks(lambda: train_with_bad_steps(tiny, tmp_path / "seldom", {3, 5}, log_every=12, **options), 1)[0]
    assert seldom.metrics["skipped_steps"] == 2 and seldom.losses == got.losses[-1:]
    with pytest.raises(RuntimeError, match="3 steps whose loss or gradient is not finite, the last is step 7"):
        run_ranks(lambda: train_with_bad_steps(tiny, tmp_path / "three", {3, 5, 6}, **options), 1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mixture": "best"}, "tokens, paper"),
        ({"mixture": "paper", "weights": {"text": 1.0}}, "contradict"),
        ({"text_share": 1.5}, "above 0 and below 1"),
    ],
)
def test_options_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        LmTrainConfig(out="out", vocabulary="v", corpora={"text": "c"}, **options)
