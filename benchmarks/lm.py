"""Training speed of the LM, compared with a plain `transformers` Llama of the same shape in one run.

    python -m benchmarks.lm                              quickstart and 20M shapes, fp32 and bf16
    python -m benchmarks.lm --shapes 20M --precisions fp32 --repetitions 8
    python -m benchmarks.lm --gpu-shapes 0.5B            on a machine with a GPU

The two sides are processes of their own that train by turns: ours is the trainer's own step (reading packed samples,
schedule, accumulation, clipping, AdamW), the other a plain loop over ready-made random batches (forward with labels,
backward, clip_grad_norm_, fused AdamW). Neither side resets attention at document boundaries, but for the line that
says so. In bf16 both keep fp32 weights next to the products in bf16: ours as master weights, the other under autocast.
A figure is tokens a CPU-second, the median of the repetitions; the ratio is the median of the repetitions' ratios.

On a GPU it prints tokens a second, model FLOPs utilisation (counted strictly: causal attention, no input embedding) and
peak memory of our trainer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

from lm.proofs.random_data import RandomData
from lm.proofs.speed import GPU_SHAPES, measure_steps, trainer_steps
from lm.training.model_config import LmModelConfig
from runtime.bulk.workers import end_with_parent
from runtime.command import Command
from runtime.config import Options, option

SHAPES = {
    "1M": LmModelConfig(layers=2, hidden=128, heads=4, kv_heads=2, ffn=384, tied=True),
    "quickstart": LmModelConfig(layers=4, hidden=192, heads=4, kv_heads=2, ffn=512, tied=True),
    "8M": LmModelConfig(layers=8, hidden=256, heads=8, kv_heads=4, ffn=704),
    "20M": LmModelConfig(layers=8, hidden=448, heads=8, kv_heads=4, ffn=1216),
}


@dataclass(kw_only=True)
class LmBenchmark(Options):
    """Training speed: shapes and precisions on a CPU, shapes and lengths on a GPU.

    Attributes:
        shapes: on a CPU.
        precisions: on a CPU.
        length: tokens of a sequence, on a CPU.
        batch: sequences of a step, on a CPU.
        steps: of a repetition.
        repetitions: of each side, on a CPU.
        threads: of each side.
        gpu_shapes: on a GPU.
        gpu_lengths: tokens of a sequence, on a GPU.
    """

    shapes: list[str] = option(["quickstart", "20M"], one_of=SHAPES)
    precisions: list[str] = option(["fp32", "bf16"], one_of=("fp32", "bf16"))
    length: int = option(256, at_least=1)
    batch: int = option(8, at_least=1)
    steps: int = option(4, at_least=1)
    repetitions: int = option(5, at_least=1)
    threads: int = option(1, at_least=1)
    gpu_shapes: list[str] = option(list(GPU_SHAPES), one_of=GPU_SHAPES)
    gpu_lengths: list[int] = option([4096, 8192], at_least=1)


def measure(options: LmBenchmark) -> None:
    """Measure and print one line a setting."""
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        if torch.cuda.is_available():
            measure_gpu(options, RandomData(Path(folder)))
        else:
            measure_cpu(options, Path(folder))


def plain_steps(model: LmModelConfig, size: int, batch: int, length: int, precision: str) -> Callable[[], None]:
    """A function that takes a step of the plain loop: `transformers`' Llama and what its users write around it."""
    config = transformers.LlamaConfig(
        vocab_size=size,
        hidden_size=model.hidden,
        num_hidden_layers=model.layers,
        num_attention_heads=model.heads,
        num_key_value_heads=model.kv_heads,
        intermediate_size=model.ffn,
        tie_word_embeddings=model.tied,
        max_position_embeddings=length,
        attn_implementation="sdpa",
        use_cache=False,
    )
    llama = transformers.LlamaForCausalLM(config).train()
    optimizer = torch.optim.AdamW(llama.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    ready = [torch.randint(0, 256, (batch, length)) for _ in range(8)]
    number = 0

    def step() -> None:
        nonlocal number
        ids = ready[number % len(ready)]
        number += 1
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = llama(ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(llama.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


@dataclass(frozen=True)
class Setting:
    """The training that both sides do."""

    model: LmModelConfig
    precision: str
    reset_attention: bool
    batch: int
    length: int
    threads: int


def measure_cpu(options: LmBenchmark, folder: Path) -> None:
    """Both sides by turns; one line for each shape, precision and kind of attention."""
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, {options.threads} thread(s)")
    print(f"{options.batch} sequences of {options.length} tokens a step; tokens a CPU-second:")
    for name in options.shapes:
        for precision in options.precisions:
            for reset_attention in (False, True):
                setting = Setting(
                    SHAPES[name], precision, reset_attention, options.batch, options.length, options.threads
                )
                with Side("ours", setting, folder) as ours, Side("theirs", setting, folder) as theirs:
                    rows = [
                        [side.seconds(options.steps) for side in (ours, theirs)] for _ in range(options.repetitions)
                    ]
                    millions = ours.num_parameters / 1e6
                tokens = options.steps * options.batch * options.length
                speeds = [tokens / statistics.median(column) for column in zip(*rows, strict=True)]
                ratio = statistics.median(theirs / ours for ours, theirs in rows)
                kind = "documents apart" if reset_attention else "plain attention"
                print(
                    f"{name} ({millions:.1f}M) {precision}, {kind}: ours {speeds[0]:,.0f}, "
                    f"transformers (plain attention) {speeds[1]:,.0f}, ratio {ratio:.3f}",
                    flush=True,
                )


class Side:
    """One side's process; open it, then ask for steps."""

    def __init__(self, name: str, setting: Setting, folder: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(name, setting, folder, other), daemon=True)

    def __enter__(self) -> Side:
        self.process.start()
        self.num_parameters: int = self.pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send(0)
        self.process.join()

    def seconds(self, steps: int) -> float:
        """CPU-seconds of ``steps`` steps."""
        self.pipe.send(steps)
        return float(self.pipe.recv())


def serve(name: str, setting: Setting, folder: Path, pipe: Any) -> None:
    """Main function of a side's process: two steps to warm up, then as many as each message asks for; 0 ends it."""
    end_with_parent()
    torch.set_num_threads(setting.threads)
    data = RandomData(folder / name)
    size = data.vocabulary.padded_size(setting.model.vocabulary_multiple)
    with contextlib.ExitStack() as stack:
        if name == "ours":
            batches = {"micro_batch": setting.batch, "global_batch": setting.batch, "threads": setting.threads}
            trainer = data.trainer(
                setting.model,
                precision=setting.precision,
                reset_attention=setting.reset_attention,
                sequence_length=setting.length,
                **batches,
            )
            step = trainer_steps(stack.enter_context(trainer))
        else:
            step = plain_steps(setting.model, size, setting.batch, setting.length, setting.precision)
        for _ in range(2):
            step()
        pipe.send(setting.model.num_parameters(size))
        while steps := pipe.recv():
            started = time.process_time()
            for _ in range(steps):
                step()
            pipe.send(time.process_time() - started)


def measure_gpu(options: LmBenchmark, data: RandomData) -> None:
    """Tokens a second, strict MFU and peak memory of our trainer; one line for each shape and length."""
    print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    for name in options.gpu_shapes:
        for length in options.gpu_lengths:
            batches = {"micro_batch": 1, "global_batch": max(1, 65536 // length)}
            with data.trainer(GPU_SHAPES[name], sequence_length=length, precision="bf16", **batches) as ours:
                print(f"{name}, length {length}: {measure_steps(ours, steps=options.steps)}", flush=True)
            torch.cuda.empty_cache()


COMMAND = Command(
    name="benchmarks.lm",
    words="benchmarks lm",
    config=LmBenchmark,
    run=measure,
    summary="Training speed of the LM, compared with a plain transformers Llama.",
    example="python -m benchmarks.lm --shapes 20M --precisions fp32 --repetitions 8",
)
main = COMMAND.main

if __name__ == "__main__":
    os.environ.setdefault("SPEECHWEAVE_PROGRESS", "file")
    COMMAND.exit()
