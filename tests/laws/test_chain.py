"""Laws of the whole chain, run for real at the smallest size: it ends in a spoken answer, and a kill changes nothing.

These take minutes; they are the reason why a green suite means that the quickstart works.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from runtime.artefact import file_digest
from tests.support.permits import wait_for

ROOT = Path(__file__).resolve().parents[2]
PROMISED = (
    "corpus.num_voices",
    "corpus.hours",
    "tokenizer.frame_rate_hz",
    "tokenizer.wer_with_vq",
    "tokenizer.wer_without_vq",
    "tokenizer.codebook_use",
    "text2token.readback_wer",
    "interleave.realised_ratio",
    "lm.tensor_parallel",
    *(f"lm.val_loss.{name}" for name in ("text", "speech", "asr", "tts", "interleaved")),
    "base.s2s.sequence.accuracy",
    "decoder.judge_wer",
    "judge.floor_wer",
    "chat.speech_to_text_accuracy",
    "chat.speech_to_speech_accuracy",
    "seconds.corpus",
    "seconds.lm",
    "seconds.total",
)
# Bytes that must not depend on how often a run was killed: speech, tokens, interleaved documents, models.
COMPARED = (
    "corpus/train.jsonl",
    "corpus/audio",
    "tokens/train.parquet",
    "synthesis",
    "interleaved/interleaved/train",
    "tokenizer/artefact/model.safetensors",
    "decoder/artefact/model.safetensors",
    "text2token_model/model/model.safetensors",
    "chat_model/model/model.safetensors",
)

pytestmark = pytest.mark.slow


# The command as it is, but its last step is never begun: it cannot be over before it is killed.
ENDLESS = """
import threading
from recipes import cli, quickstart
start, wait = quickstart.Runner.start, threading.Event().wait
quickstart.Runner.start = lambda runner, step: wait() if step.name == "report" else start(runner, step)
cli.main()
"""


def command(out: Path, *how: str) -> list[str]:
    return [sys.executable, *how, "quickstart", "recipe=smallest", f"quickstart.out={out}"]


def run_chain(out: Path) -> str:
    chain = command(out, "-m", "recipes.cli")
    done = subprocess.run(chain, cwd=ROOT, capture_output=True, text=True, timeout=3600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def metrics_of(out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    return metrics


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("unbroken")
    run_chain(out)
    return out


def test_it_ends_with_a_report_and_a_spoken_answer(unbroken: Path) -> None:
    metrics = metrics_of(unbroken)
    assert [key for key in PROMISED if key not in metrics] == []
    assert metrics["tokenizer.frame_rate_hz"] == 12.5
    assert metrics["lm.tensor_parallel"] == 2
    assert metrics["corpus.num_voices"] >= 12
    assert metrics["interleave.realised_ratio"] == pytest.approx(0.3, abs=0.05)
    page = (unbroken / "report.html").read_text()
    assert page.count("<audio") >= 4
    assert page.count("data:image/png") >= 4
    assert "Under noise" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_second_call_skips_everything(unbroken: Path) -> None:
    before = file_digest(unbroken / "metrics.json")
    printed = run_chain(unbroken)
    assert "started" not in printed
    assert printed.count("up to date") == len(json.loads((unbroken / "recipe" / "plan.json").read_text())["steps"])
    assert file_digest(unbroken / "metrics.json") == before


def test_killed_anywhere_it_ends_the_same(unbroken: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    for step in ("corpus", "tokenizer", "tokens", "text2token", "synthesis", "lm", "answers"):
        kill_within(out, step)
    assert orphans() == []
    run_chain(out)
    assert [name for name in COMPARED if digest(out, name) != digest(unbroken, name)] == []
    ours, theirs = metrics_of(out), metrics_of(unbroken)
    timing = ("seconds", "rtf", "_per_second", "chat.example.audio")
    keys = [key for key in theirs if not any(part in key for part in timing)]
    assert {key: ours.get(key) for key in keys} == {key: theirs[key] for key in keys}


def kill_within(out: Path, step: str) -> None:
    """Start the chain and kill -9 it as soon as ``step`` is at work; returns when it and its children are gone."""
    chain = command(out, "-c", ENDLESS)
    runner = subprocess.Popen(chain, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: is_at_work(out / step) or runner.poll() is not None, seconds=1800)
        assert runner.poll() is None, f"the chain ended before {step} was seen at work"
    finally:
        runner.kill()
        runner.wait()


def orphans() -> list[str]:
    """Command lines of processes of this test that nobody owns any more, long after the last kill."""
    for _ in range(1200):
        found = [folder.name for folder in Path("/proc").iterdir() if folder.name.isdigit() and is_orphan(folder)]
        if not found:
            break
        time.sleep(0.1)
    return [(Path("/proc") / name / "cmdline").read_bytes().decode() for name in found]


def is_orphan(process: Path) -> bool:
    try:
        is_ours = b"test_killed_anywhere" in (process / "environ").read_bytes()
        return is_ours and "PPid:\t1\n" in (process / "status").read_text()
    except OSError:
        return False


def is_at_work(folder: Path) -> bool:
    if (folder / "done.json").exists():
        return True
    try:
        state = json.loads((folder / "progress.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(state["done"] > 0)


def digest(out: Path, name: str) -> str:
    """The digest of a file or folder, without what tells time or place."""
    path = out / name
    if name != "synthesis":
        return file_digest(path)
    return "".join(file_digest(file) for file in sorted(path.rglob("*.parquet")))
