"""Training speed of the trainer's own step: tokens a second, strict model FLOPs utilisation, peak memory.

Strictly counted, a token costs 6 x (parameters without the input embedding) + 6 x layers x length x width: causal
attention, no recomputation (`lm.training.model_config.LmModelConfig.flops_per_token`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from lm.training.hardware import GIB, Hardware
from lm.training.model_config import LmModelConfig
from lm.training.trainer import Trainer

from .finding import ABSENT, PROVEN, Finding
from .random_data import RandomData

TEXT_AND_SPEECH = 168_320  # Qwen2.5's ids and 16,384 speech tokens: padded to exactly this many rows
GPU_SHAPES = {
    "0.5B": LmModelConfig(
        layers=24, hidden=896, heads=14, kv_heads=2, ffn=4864, tied=True, vocabulary_multiple=TEXT_AND_SPEECH
    ),
    "1.5B": LmModelConfig(
        layers=28, hidden=1536, heads=12, kv_heads=2, ffn=8960, tied=True, vocabulary_multiple=TEXT_AND_SPEECH
    ),
}
GPU_SHAPE, GPU_LENGTH, GPU_GIBIBYTES = "0.5B", 4096, 30.0  # what is measured, and the memory it wants
CPU_SHAPE = LmModelConfig(layers=4, hidden=192, heads=4, kv_heads=2, ffn=512, tied=True)
WARM_UP, STEPS = 3, 5


@dataclass(frozen=True, kw_only=True)
class MeasuredSpeed:
    """Speed of a training on this process.

    Attributes:
        tokens_per_second: of the run.
        tflops: model operations of this process, 10^12 a second.
        utilisation: share of the peak; None where that is not known.
        gibibytes: peak of allocated device memory; 0 on a CPU.
    """

    tokens_per_second: float
    tflops: float
    utilisation: float | None
    gibibytes: float

    def __str__(self) -> str:
        share = "unknown (give train.peak_tflops)" if self.utilisation is None else f"{self.utilisation:.1%}"
        memory = f", peak {self.gibibytes:.1f} GiB" if self.gibibytes else ""
        return f"{self.tokens_per_second:,.0f} tokens/s, {self.tflops:.3g} TFLOP/s, strict MFU {share}{memory}"


def trainer_steps(trainer: Trainer) -> Callable[[], None]:
    """A function that takes the trainer's next step."""
    batches = trainer.data.training(0)
    number = 0

    def step() -> None:
        nonlocal number
        trainer._step(number, batches)
        number += 1

    return step


def measure_steps(trainer: Trainer, *, steps: int, warm_up: int = WARM_UP) -> MeasuredSpeed:
    """Speed over ``steps`` steps after ``warm_up`` others."""
    step = trainer_steps(trainer)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(warm_up):
        step()
    torch.cuda.synchronize()
    trainer.speed.take()
    for _ in range(steps):
        step()
        trainer.speed.count(trainer.loop.tokens_per_step)
    torch.cuda.synchronize()
    timing = trainer.speed.take()
    return MeasuredSpeed(
        tokens_per_second=timing["tokens_per_second"],
        tflops=timing["model_tflops_per_process"],
        utilisation=timing.get("model_flops_utilisation"),
        gibibytes=torch.cuda.max_memory_allocated() / GIB if on_gpu else 0.0,
    )


def training_speed(peak_tflops: str = "0") -> Finding:
    """One process: the 0.5B shape in bf16 at 4,096 tokens on a GPU, a small one at 256 on a CPU."""
    hardware = Hardware.here()
    if hardware.gpus:
        if hardware.bytes < GPU_GIBIBYTES * GIB:
            return Finding(status=ABSENT, detail=f"{GPU_SHAPE} wants {GPU_GIBIBYTES:.0f} GiB of memory")
        name, model, length, batch = GPU_SHAPE, GPU_SHAPES[GPU_SHAPE], GPU_LENGTH, 16
    else:
        name, model, length, batch = "small shape", CPU_SHAPE, 256, 8
    micro_batch = 1 if hardware.gpus else batch
    with (
        tempfile.TemporaryDirectory() as folder,
        RandomData(Path(folder)).trainer(
            model,
            sequence_length=length,
            micro_batch=micro_batch,
            global_batch=batch,
            peak_tflops=float(peak_tflops),
        ) as trainer,
    ):
        speed = measure_steps(trainer, steps=STEPS)
        millions = model.num_parameters(trainer.vocabulary_size) / 1e6
        words = f"{name} ({millions:.1f}M), {trainer.precision}, length {length}: {speed}"
    return Finding(status=PROVEN, detail=words)
