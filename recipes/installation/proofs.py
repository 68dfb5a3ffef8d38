"""Table of the proofs: what a machine has, and the laws of training that must hold on it.

A law about a part that the machine does not have is absent, not failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lm.proofs.finding import ABSENT, FAILED, Finding

from .workbench import STEPS, ProofFailedError, Workbench

FP32 = ("train.precision=fp32", "train.layers=local")
# Largest relative difference of losses. On a GPU sums are taken in another order each time.
SAME_ON_CPU, SAME_ON_GPU = 1e-5, 1e-3
BF16_LIMIT, FP8_LIMIT = 0.01, 0.05
LAYOUTS = {
    "tensor and sequence": ("parallel.tensor=2", "parallel.sequence=true"),
    "pipeline": ("parallel.pipeline=2",),
    "context": ("parallel.context=2",),
    "data, distributed optimizer": ("parallel.distributed_optimizer=true",),
    "the same, overlapped": (
        *("parallel.distributed_optimizer=true", "parallel.overlap_grad_reduce=always"),
        *("parallel.overlap_param_gather=true", "parallel.bucket_size=10000"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One row of the table.

    Attributes:
        name: of the row.
        prove: runs checks and trainings on a workbench.
    """

    name: str
    prove: Callable[[Workbench], Finding]

    def find(self, bench: Workbench) -> Finding:
        """The finding, a failed one where a process crashed, hung or ended with an error."""
        try:
            return self.prove(bench)
        except ProofFailedError as error:
            return Finding(status=FAILED, detail=str(error))


def _check(name: str) -> Callable[[Workbench], Finding]:
    return lambda bench: bench.check(name)


def prove_collectives(bench: Workbench) -> Finding:
    """Collectives over all GPUs, or over two processes by gloo."""
    return bench.check("collectives", processes=bench.gpus or 2)


def prove_layouts(bench: Workbench) -> Finding:
    """Losses of fp32 trainings under each layout of two processes, against one process."""
    if bench.gpus == 1:
        return Finding(status=ABSENT, detail="one GPU: a layout takes two")
    one = bench.train("one process", *FP32)
    worst = {name: difference(bench.train(name, *FP32, *words, processes=2), one) for name, words in LAYOUTS.items()}
    limit = same(bench)
    words = ", ".join(f"{name} {value:.0e}" for name, value in worst.items())
    return Finding.of(max(worst.values()) <= limit, f"losses differ by: {words} (limit {limit:.0e})")


def prove_resume(bench: Workbench) -> Finding:
    """A training that ends half way and goes on under another layout, against one that does not."""
    options = (*FP32, "parallel.distributed_optimizer=true")
    processes, then = (1, "the same layout") if bench.gpus == 1 else (2, "tensor 2")
    whole = bench.train("unbroken", *options, processes=processes)
    bench.train("broken", *options, processes=processes, steps=STEPS // 2)
    other = () if bench.gpus == 1 else ("parallel.tensor=2",)
    losses = bench.train("broken", *options, *other, processes=processes)
    found, limit = difference(losses, whole), same(bench)
    detail = f"saved with {processes} copies at step {STEPS // 2}, resumed under {then}: losses differ by {found:.0e}"
    return Finding.of(found <= limit, f"{detail} (limit {limit:.0e})")


def prove_bf16(bench: Workbench) -> Finding:
    """Losses of a bf16 training with the layers of this machine, against fp32."""
    found = difference(bench.train("bf16", "train.precision=bf16"), bench.train("fp32", *FP32))
    return Finding.of(found <= BF16_LIMIT, f"losses differ from fp32's by {found:.1e} (limit {BF16_LIMIT:.0e})")


def prove_fp8(bench: Workbench) -> Finding:
    """Losses of trainings under each recipe of FP8 that the device runs, against bf16."""
    recipes = [name for name, is_there in bench.check("fp8").facts.items() if is_there]
    if not recipes:
        return Finding(status=ABSENT, detail="no FP8 here")
    plain = bench.train("bf16 beside fp8", "train.precision=bf16")
    worst = {
        name: difference(
            bench.train(name, "train.precision=bf16", "train.fp8=hybrid", f"train.fp8_recipe={name}"), plain
        )
        for name in recipes
    }
    words = ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
    return Finding.of(max(worst.values()) <= FP8_LIMIT, f"losses differ from bf16's by: {words} (limit {FP8_LIMIT})")


def prove_speed(bench: Workbench) -> Finding:
    """A short training's throughput and strict model FLOPs utilisation."""
    return bench.check("speed", str(bench.peak_tflops))


def difference(losses: list[float], expected: list[float]) -> float:
    """The largest relative difference of two trainings' losses; infinite where their steps differ in number."""
    if len(losses) != len(expected):
        return float("inf")
    return max(abs(one - other) / abs(other) for one, other in zip(losses, expected, strict=True))


def same(bench: Workbench) -> float:
    """The limit for trainings that are equal but for rounding."""
    return SAME_ON_GPU if bench.gpus else SAME_ON_CPU


PROOFS = (
    Proof(name="versions", prove=_check("versions")),
    Proof(name="processor", prove=_check("processor")),
    Proof(name="GPUs", prove=_check("gpus")),
    Proof(name="Transformer Engine", prove=_check("transformer_engine")),
    Proof(name="Apex", prove=_check("apex")),
    Proof(name="FP8", prove=_check("fp8")),
    Proof(name="options for speed", prove=_check("speed_options")),
    Proof(name="collectives", prove=prove_collectives),
    Proof(name="rotary positions", prove=_check("rotary")),
    Proof(name="packed against masked attention", prove=_check("packed")),
    Proof(name="Transformer Engine's logits", prove=_check("engine")),
    Proof(name="layouts", prove=prove_layouts),
    Proof(name="save and resume", prove=prove_resume),
    Proof(name="bf16 training", prove=prove_bf16),
    Proof(name="FP8 training", prove=prove_fp8),
    Proof(name="throughput", prove=prove_speed),
)
