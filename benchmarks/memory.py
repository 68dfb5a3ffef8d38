"""Peak memory of a training run, measured and as `recipes.cluster.memory` predicts it.

    python -m benchmarks.memory                     four layouts on a CPU; one process on a GPU
    python -m benchmarks.memory --hidden 1024 --layers 24 --sequence 4096 --precision bf16       (on a GPU)

The trainer itself runs for a few steps on made-up documents. On a CPU every storage that an operator returns counts
while it is alive (model, gradients, optimizer, activations; not what an operator needs inside); on a GPU it is
``torch.cuda.max_memory_allocated``. tests/lm/training/test_memory.py holds the CPU layouts to 10 %.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lm.data.corpora import write_corpus
from lm.data.formats import text_document
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from lm.train import STAGE
from lm.training.config import LmTrainConfig
from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig, data_parallel_size
from recipes.cluster.memory import memory_by_stage
from recipes.launch import reserve_port
from runtime.command import Command
from runtime.config import Options, option
from runtime.stage import Run

LAYOUTS: dict[str, dict[str, Any]] = {
    "one process": {},
    "TP2": {"tensor": 2},
    "TP2, sequence": {"tensor": 2, "sequence": True},
    "PP2": {"pipeline": 2},
}


@dataclass(kw_only=True)
class Measurement:
    """One layout: the bytes measured in each process, and the prediction for its stage."""

    name: str
    config: LmTrainConfig
    processes: int
    measured: list[int] = field(default_factory=list)

    def predicted(self, vocabulary_size: int) -> list[float]:
        """Bytes for each process, in the order of ranks (the pipeline stage is the slow index)."""
        data = data_parallel_size(self.config.parallel, self.processes)
        stages = memory_by_stage(
            self.config.model,
            self.config.parallel,
            self.config.train,
            vocabulary_size=vocabulary_size,
            data=data,
            precision=self.config.train.precision,
            is_local=not torch.cuda.is_available(),
        )
        per_stage = self.processes // self.config.parallel.pipeline
        return [stages[rank // per_stage].total for rank in range(self.processes)]


def make_corpus(folder: Path, num_speech_tokens: int) -> int:
    """A vocabulary and a text corpus of made-up words; returns the vocabulary's size."""
    draw = random.Random(0)
    words = ["".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") for _ in range(2)) for _ in range(40)]
    texts = [" ".join(draw.choices(words, k=40)) for _ in range(80)]
    vocabulary = build_vocabulary(
        train_bpe(texts, 300), num_speech_tokens=num_speech_tokens, speech_tokenizer="made up"
    )
    vocabulary.save_pretrained(folder / "vocabulary")
    write_corpus(folder / "text", "text", vocabulary, [text_document(text, vocabulary) for text in texts], [], {})
    return vocabulary.size


def make_config(
    folder: Path, out: Path, model: LmModelConfig, loop: LoopConfig, layout: dict[str, Any]
) -> LmTrainConfig:
    """The trainer's options for a corpus of `make_corpus`."""
    return LmTrainConfig(
        out=str(out),
        vocabulary=str(folder / "vocabulary"),
        corpora={"text": str(folder / "text")},
        max_epochs=0,
        model=model,
        parallel=ParallelConfig(**layout),
        train=loop,
    )


def peak_of_training(config: LmTrainConfig) -> int:
    """Train, and return the most bytes that were allocated at one time in this process."""
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    if torch.cuda.is_available():
        STAGE.run(config, Run(out))
        return int(torch.cuda.max_memory_allocated())
    with LiveStorages() as live:
        STAGE.run(config, Run(out))
    return live.most


class LiveStorages(TorchDispatchMode):
    """Adds up the storages that operators made and that are still alive; `most` is the largest sum seen.

    The profiler's memory events would not do: memory that gloo's threads free is missing from them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.held = self.most = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        """Run one operator and take note of the storages it returns."""
        result = function(*arguments, **(options or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        known = self.alive.get(storage._cdata)
        if known is not None and not known[0].expired():
            return
        self.held += storage.nbytes() - (known[1] if known else 0)
        self.alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        if self.held > self.most:  # an upper bound: leave out what is gone, then look again
            self.alive = {key: entry for key, entry in self.alive.items() if not entry[0].expired()}
            self.held = sum(size for _, size in self.alive.values())
            self.most = max(self.most, self.held)


@dataclass(kw_only=True)
class MemoryBenchmark(Options):
    """Peak memory of the trainer: four layouts on a CPU, one process on a GPU.

    Attributes:
        layers: decoder layers.
        hidden: width of the residual stream.
        heads: query heads; half as many key-value heads.
        ffn: inner width of the feed-forward.
        sequence: tokens of a sequence.
        speech_tokens: of the made-up vocabulary.
        precision: of the weights.
        recompute: of activations, in the backward pass.
    """

    layers: int = option(8, at_least=1)
    hidden: int = option(256, at_least=1)
    heads: int = option(4, at_least=2)
    ffn: int = option(704, at_least=1)
    sequence: int = option(512, at_least=1)
    speech_tokens: int = option(4096, at_least=1)
    precision: str = option("fp32", one_of=("fp32", "bf16"))
    recompute: str = option("none", one_of=("none", "full"))


def measure(options: MemoryBenchmark) -> None:
    """Measure the layouts and print the table."""
    model = LmModelConfig(
        layers=options.layers, hidden=options.hidden, heads=options.heads, kv_heads=options.heads // 2, ffn=options.ffn
    )
    loop = LoopConfig(
        steps=3, warmup_steps=1, sequence_length=options.sequence, micro_batch=2, global_batch=8,
        precision=options.precision, recompute=options.recompute, reset_attention=False, validate_every=0,
        checkpoint_every=0,
    )  # fmt: skip
    layouts = {"one process": {}} if torch.cuda.is_available() else LAYOUTS
    print(f"{'layout':<14}{'process':>8}{'measured MB':>14}{'predicted MB':>14}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = make_corpus(folder, options.speech_tokens)
        padded = -(-size // model.vocabulary_multiple) * model.vocabulary_multiple
        for label, layout in layouts.items():
            config = make_config(folder, folder / label.replace(" ", "_"), model, loop, layout)
            measurement = Measurement(name=label, config=config, processes=config.parallel.model_size)
            measurement.measured = in_processes(config, measurement.processes)
            pairs = zip(measurement.measured, measurement.predicted(padded), strict=True)
            for rank, (measured, predicted) in enumerate(pairs):
                print(
                    f"{label:<14}{rank:>8}{measured / 1e6:>14.1f}{predicted / 1e6:>14.1f}{predicted / measured:>8.3f}"
                )


def in_processes(config: LmTrainConfig, size: int) -> list[int]:
    """`peak_of_training` in fresh processes that torch.distributed joins."""
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    with reserve_port() as holder:
        port = holder.getsockname()[1]
        processes = [
            context.Process(target=_run_rank, args=(config, rank, size, port, answers)) for rank in range(size)
        ]
        for process in processes:
            process.start()
        found = dict(answers.get() for _ in processes)
        for process in processes:
            process.join()
    return [found[rank] for rank in range(size)]


def _run_rank(config: LmTrainConfig, rank: int, size: int, port: int, answers: Any) -> None:
    torch.set_num_threads(1)
    names = {"RANK": rank, "WORLD_SIZE": size, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()} | {"SPEECHWEAVE_PROGRESS": "file"})
    answers.put((rank, peak_of_training(config)))


COMMAND = Command(
    name="benchmarks.memory",
    words="benchmarks memory",
    config=MemoryBenchmark,
    run=measure,
    summary="Peak memory of a training run, measured and as the planner predicts it.",
    example="python -m benchmarks.memory --hidden 1024 --layers 24 --sequence 4096 --precision bf16",
)
main = COMMAND.main

if __name__ == "__main__":
    COMMAND.exit()
