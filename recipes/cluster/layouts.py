"""Layouts of a model over a cluster: those that fit, and the fastest of them by the estimated throughput."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import BatchShape, ParallelConfig, check_layout, data_parallel_size
from runtime.errors import UserError

from .machines import GPUS_PER_NODE, Cluster
from .memory import GIB, Margin, MemoryParts, memory_by_stage
from .throughput import Assumptions, ThroughputEstimate, estimate_throughput


@dataclass(frozen=True, kw_only=True)
class ClusterLayout:
    """A possible layout with its memory and throughput.

    Attributes:
        parallel: sizes of the parallel dimensions.
        loop: with its micro batch and recomputation.
        data: data parallel size.
        stages: memory of each pipeline stage.
        throughput: speed and duration of the run.
        available: bytes of an accelerator.
    """

    parallel: ParallelConfig
    loop: LoopConfig
    data: int
    stages: list[MemoryParts]
    throughput: ThroughputEstimate
    available: float

    @property
    def fullest(self) -> int:
        """The pipeline stage that needs most."""
        return max(range(len(self.stages)), key=lambda stage: self.stages[stage].total)

    @property
    def needed(self) -> float:
        """Bytes of the fullest process."""
        return self.stages[self.fullest].total

    @property
    def fits(self) -> bool:
        """Whether every process fits its accelerator."""
        return self.needed <= self.available

    def options(self) -> str:
        """The layout as options of lm.train."""
        parallel, words = self.parallel, []
        for name in ("tensor", "sequence", "pipeline", "virtual", "context", "distributed_optimizer"):
            value = getattr(parallel, name)
            if value is True or (value is not False and value != 1):
                words.append(f"lm.parallel.{name}={str(value).lower()}")
        words.append(f"lm.train.micro_batch={self.loop.micro_batch}")
        return " ".join([*words, f"lm.train.recompute={self.loop.recompute}"])


def lay_out(
    model: LmModelConfig, parallel: ParallelConfig, loop: LoopConfig, cluster: Cluster, assumed: Assumptions
) -> ClusterLayout:
    """A layout with its memory and throughput.

    Raises:
        UserError: it is impossible for this model, batch and number of processes.
    """
    batch = BatchShape(
        micro_batch=loop.micro_batch, global_batch=loop.global_batch, sequence_length=loop.sequence_length
    )
    check_layout(parallel, model, batch, processes=cluster.gpus, backend="nccl")
    if parallel.context > 1 and loop.reset_attention:
        found = f"{parallel.context}, with train.reset_attention=true"
        remedy = "set one of them otherwise: packed documents of any length cannot be divided between processes"
        raise UserError("option parallel.context", found=found, remedy=remedy)
    data = data_parallel_size(parallel, cluster.gpus)
    precision = "fp32" if loop.precision == "fp32" else "bf16"
    stages = memory_by_stage(
        model, parallel, loop, vocabulary_size=assumed.vocabulary_size, data=data, precision=precision,
        margin=Margin(fixed=assumed.margin_gibibytes * GIB, share=assumed.fragmentation),
    )  # fmt: skip
    return ClusterLayout(
        parallel=parallel,
        loop=loop,
        data=data,
        stages=stages,
        throughput=estimate_throughput(model, parallel, loop, cluster, assumed, data=data),
        available=cluster.accelerator.gibibytes * GIB,
    )


def possible_layouts(
    model: LmModelConfig, loop: LoopConfig, cluster: Cluster, assumed: Assumptions
) -> Iterator[ClusterLayout]:
    """Every layout tried, whether it fits or not; tensor parallel stays within a node."""
    sizes = [2**power for power in range(10)]
    tensors = [size for size in sizes if size <= min(GPUS_PER_NODE, cluster.gpus)]
    pipelines = [size for size in sizes if size <= 16]
    choices = product(tensors, pipelines, (1, 2), (1, 2, 4), (1, 2, 4, 8), ("none", "selective", "full"))
    for tensor, pipeline, virtual, context, micro_batch, recompute in choices:
        if tensor * pipeline * context > cluster.gpus or (virtual > 1 and pipeline == 1):
            continue
        copies = cluster.gpus // (tensor * pipeline * context)
        parallel = ParallelConfig(
            tensor=tensor, sequence=tensor > 1, pipeline=pipeline, virtual=virtual, context=context,
            distributed_optimizer=copies * context > 1,
        )  # fmt: skip
        try:
            candidate = replace(loop, micro_batch=micro_batch, recompute=recompute)
            yield lay_out(model, parallel, candidate, cluster, assumed)
        except UserError:
            continue


def best_layout(model: LmModelConfig, loop: LoopConfig, cluster: Cluster, assumed: Assumptions) -> ClusterLayout | None:
    """The fastest by the estimate; among equals the one that communicates least and leaves most room."""

    def rank(layout: ClusterLayout) -> tuple[float, ...]:
        parallel = layout.parallel
        communication = parallel.context, parallel.tensor, parallel.pipeline, parallel.virtual
        return (-round(layout.throughput.mfu, 4), *communication, layout.needed)

    fitting = (layout for layout in possible_layouts(model, loop, cluster, assumed) if layout.fits)
    return min(fitting, key=rank, default=None)


def smallest_layout(
    model: LmModelConfig, loop: LoopConfig, cluster: Cluster, assumed: Assumptions
) -> ClusterLayout | None:
    """The one that needs least memory."""
    return min(possible_layouts(model, loop, cluster, assumed), key=lambda layout: layout.needed, default=None)


def smallest_cluster(
    model: LmModelConfig, loop: LoopConfig, kind: str, assumed: Assumptions, *, above: int, most: int = 4096
) -> tuple[Cluster, ClusterLayout] | None:
    """The smallest number of accelerators (a power of two above ``above``) on which some layout fits."""
    gpus = 1
    while gpus <= most:
        if gpus > above:
            cluster = Cluster(gpus=gpus, kind=kind)
            layout = best_layout(model, loop, cluster, assumed)
            if layout is not None:
                return cluster, layout
        gpus *= 2
    return None
