"""Processes of checks and short trainings: those that crash or hang are findings, not the end of the caller.

with Workbench.opened() as bench:
    finding = bench.check("collectives", processes=2)
    losses = bench.train("tensor 2", "parallel.tensor=2", processes=2)
"""

from __future__ import annotations

import contextlib
import json
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from lm.proofs.finding import Finding
from recipes.launch import Ranks, fork_server
from runtime.artefact import read_json
from runtime.fork_server import ForkServer

POLL_SECONDS = 0.05
# A training of seconds: two layers of 64, random documents.
TRAINING = (
    *("model.layers=2", "model.hidden=64", "model.heads=4", "model.kv_heads=2", "model.ffn=96"),
    *("train.sequence_length=64", "train.micro_batch=2", "train.global_batch=8", "train.schedule=constant"),
    *("train.learning_rate=0.01", "train.final_learning_rate=0.01", "train.warmup_steps=2", "train.log_every=1"),
    *("train.validate_every=0", "train.checkpoint_every=0", "max_epochs=0"),
)
STEPS = 8


class ProofFailedError(Exception):
    """A process of a proof that crashed, hung or ended with an error; its text says which."""


class Workbench:
    """A folder for what checks write, and the parent of their processes.

    Args:
        folder: emptied by who made it.
        server: forks processes where that is safe (`recipes.launch.fork_server`).
        seconds: of each check and training; then it is stopped.
        peak_tflops: of the device, for the utilisation; 0: by the device's name.
    """

    def __init__(self, folder: Path, server: ForkServer | None, *, seconds: float, peak_tflops: float = 0.0) -> None:
        self.folder, self.server, self.seconds, self.peak_tflops = folder, server, seconds, peak_tflops
        self.number = 0

    @classmethod
    @contextlib.contextmanager
    def opened(cls, *, seconds: float = 300.0, peak_tflops: float = 0.0) -> Iterator[Workbench]:
        """A workbench in a temporary folder, which is removed at the end."""
        with tempfile.TemporaryDirectory(prefix="speechweave-doctor-") as folder, fork_server() as server:
            yield cls(Path(folder), server, seconds=seconds, peak_tflops=peak_tflops)

    @cached_property
    def gpus(self) -> int:
        """CUDA devices; 0 where the question itself fails."""
        try:
            return int(self.check("gpus").facts.get("gpus", 0))
        except ProofFailedError:
            return 0

    @cached_property
    def data(self) -> Path:
        """Folder of a vocabulary and a corpus of random documents."""
        self.check("corpus", str(self.folder / "data"))
        return self.folder / "data"

    def check(self, name: str, *words: str, processes: int = 1) -> Finding:
        """Run a check of `lm.proofs.checks`.

        Raises:
            ProofFailedError: it crashed, hung or ended with an error.
        """
        answer = self.folder / f"{self._next()}.json"
        self._run("lm.proofs.checks", [name, str(answer), *words], processes)
        return Finding(**read_json(answer))

    def train(self, name: str, *words: str, processes: int = 1, steps: int = STEPS) -> list[float]:
        """Run ``lm.train`` with the options ``words``, in the folder of ``name``; returns the losses of its steps.

        Raises:
            ProofFailedError: it crashed, hung or ended with an error.
        """
        out = self.folder / re.sub(r"\W+", "_", name)
        inputs = [f"vocabulary={self.data / 'vocabulary'}", f"corpora.text={self.data / 'text'}", f"out={out}"]
        self._run("lm.train", [*inputs, *TRAINING, f"train.steps={steps}", *words], processes)
        return [json.loads(line)["loss"] for line in (out / "curve.jsonl").read_text().splitlines()]

    def _next(self) -> int:
        self.number += 1
        return self.number

    def _run(self, module: str, words: list[str], processes: int) -> None:
        log = self.folder / f"{self._next()}.log"
        ranks = Ranks(module, words, processes=processes, threads=1, log=log, server=self.server)
        try:
            status = self._wait(ranks)
        finally:
            ranks.stop()
        if status is None:
            raise ProofFailedError(f"no end within {self.seconds:.0f} s; its last words: {last_line(log)}")
        if status < 0:
            raise ProofFailedError(f"crashed by {signal.Signals(-status).name}; its last words: {last_line(log)}")
        if status:
            raise ProofFailedError(f"ended with status {status}: {last_line(log)}")

    def _wait(self, ranks: Ranks) -> int | None:
        """The exit status; None after the time is over."""
        end = time.monotonic() + self.seconds
        while (status := ranks.poll()) is None and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
        return status


def last_line(log: Path) -> str:
    """The last line of a log that is not empty."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "none"
