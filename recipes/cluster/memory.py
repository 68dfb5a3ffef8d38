"""Memory of a process of a Megatron run, part by part, from the shapes alone.

Weights, gradients and optimizer states follow from what the trainer keeps: bf16 weights (2 bytes a parameter), fp32
gradient buffers (4), fp32 master weights and two Adam moments (12, divided among data parallel processes by the
distributed optimizer); in fp32 runs 4, 4 and 8. Activations follow Korthikanti et al. (arXiv 2205.05198, section 4),
written anew for RMSNorm, SwiGLU, grouped queries and attention that keeps no scores. `benchmarks/memory.py` compares
this with the memory measured during training.

Symbols: S tokens of a sequence on this process, B micro batch, D hidden, F ffn, H and G query and key-value heads of
width W, V rows of the vocabulary, t tensor, p pipeline, v virtual, c context, d data parallel size.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig

GIB = 2.0**30
BLOCK_KEYS, QUERY_BLOCK = 2048, 128  # those of `lm.training.attention`, which imports torch


@dataclass(frozen=True, kw_only=True)
class Margin:
    """Memory on a GPU that does not follow from the shapes. All of it is our choice, not yet measured.

    Attributes:
        fixed: bytes of the CUDA context, NCCL's buffers and the libraries' workspaces.
        share: of what torch allocates, lost to fragmentation.
    """

    fixed: float = 4.0 * GIB
    share: float = 0.05


NO_MARGIN = Margin(fixed=0.0, share=0.0)


@dataclass(frozen=True, kw_only=True)
class MemoryParts:
    """Bytes of the fullest process of one pipeline stage.

    Attributes:
        weights: parameters.
        gradients: the fp32 buffers they are summed in.
        optimizer: master weights and moments.
        activations: kept for the backward pass, of all micro batches in flight.
        recomputation: one layer's activations, made again in the backward pass.
        logits: the last stage's scores, their softmax, and the output layer's weight gradient on its way.
        working: a layer's gradients on their way, where they take more than the logits did.
        margin: context, NCCL, workspaces, fragmentation.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    recomputation: float
    logits: float
    working: float
    margin: float

    @property
    def total(self) -> float:
        """All of it."""
        return float(sum(asdict(self).values()))


def memory_by_stage(
    model: LmModelConfig,
    parallel: ParallelConfig,
    loop: LoopConfig,
    *,
    vocabulary_size: int,
    data: int,
    precision: str = "bf16",
    is_local: bool = False,
    margin: Margin = NO_MARGIN,
) -> list[MemoryParts]:
    """The parts for each pipeline stage.

    Args:
        model: the shape.
        parallel: the layout.
        loop: micro batch, global batch, sequence length and recomputation.
        vocabulary_size: V, padded.
        data: d, data parallel size.
        precision: ``bf16`` or ``fp32``.
        is_local: for our local layers (a CPU) instead of Transformer Engine's.
        margin: added on a GPU.
    """
    stages = [
        _stage(model, parallel, loop, vocabulary_size, data, precision, is_local, stage)
        for stage in range(parallel.pipeline)
    ]
    return [_with_margin(parts, margin) for parts in stages]


def stage_parameters(model: LmModelConfig, parallel: ParallelConfig, vocabulary_size: int, stage: int) -> float:
    """Parameters a process of ``stage`` holds."""
    tensor, layers = parallel.tensor, model.layers // parallel.pipeline
    width = model.head_width
    attention = model.hidden * width * (2 * model.heads + 2 * model.kv_heads)
    biases = width * (model.heads + 2 * model.kv_heads) if model.qkv_bias else 0
    norms = (4 if model.sandwich_norm else 2) * model.hidden + (2 * width if model.qk_norm else 0)
    count = layers * ((attention + 3 * model.hidden * model.ffn + biases) / tensor + norms)
    is_first, is_last = stage == 0, stage == parallel.pipeline - 1
    tables = int(is_first) + int(is_last) - int(model.tied and is_first and is_last)
    return count + tables * vocabulary_size * model.hidden / tensor + (model.hidden if is_last else 0)


def layer_activations(
    model: LmModelConfig, parallel: ParallelConfig, loop: LoopConfig, precision: str, is_local: bool = False
) -> float:
    """Bytes one layer keeps of one micro batch when nothing is recomputed.

    Of width D: both norms' normalised input and output (4); with sequence parallel a t-th. Of the heads: query and
    key behind the rotary positions, the whole product that value is a view of, and the context with its log-sum-exp.
    Of width F: gate and up, and their product (3).
    """
    size = 2 if precision == "bf16" else 4
    length = loop.sequence_length / parallel.context
    tokens = length * loop.micro_batch
    split = parallel.tensor if parallel.sequence else 1
    norms = (6 if model.sandwich_norm else 4) * model.hidden / split
    ffn = 3 * model.ffn / parallel.tensor
    heads, scores = 3 * model.heads + 3 * model.kv_heads, 4.0 * model.heads
    if is_local and loop.sequence_length <= BLOCK_KEYS:  # our own attention keeps copies, and the lower half of weights
        heads, scores = 2 * model.heads + 2 * model.kv_heads, size * model.heads * (length + QUERY_BLOCK) / 2
    elif is_local:  # the fused one's context is kept in two orders
        heads += model.heads
    return tokens * (size * (norms + heads * model.head_width / parallel.tensor + ffn) + scores / parallel.tensor)


def slice_bytes(tokens: float, ids: float, width: int, slices: int, size: int) -> float:
    """The most bytes of a loss in slices (`lm.training.sliced_loss`), without the gradient of the output layer.

    A slice's scores in fp32, with their product or gradient in bf16; the sum of the hidden states' gradient in fp32 and
    a slice's part of it.

    Args:
        tokens: of a micro batch on this process.
        ids: of this process.
        width: of the hidden states.
        slices: of the ids.
        size: bytes of a number, 2 or 4.
    """
    scores = tokens * math.ceil(ids / slices) * (4 if size == 4 else 4 + size)
    return scores + tokens * width * (4 + size)


def in_flight(parallel: ParallelConfig, micro_batches: int, stage: int) -> float:
    """Micro batches whose activations stage ``stage`` holds at its fullest, in units of the stage's layers.

    1F1B: p - stage, at most as many as there are. Interleaved: p (1 + (p - 1) / (p v)) of the first stage.
    """
    pipeline, virtual = parallel.pipeline, parallel.virtual
    if virtual == 1:
        return min(pipeline - stage, micro_batches)
    warm_up = (pipeline - stage - 1) * 2 + (virtual - 1) * pipeline + 1
    return min(warm_up, micro_batches * virtual) / virtual


def _stage(
    model: LmModelConfig,
    parallel: ParallelConfig,
    loop: LoopConfig,
    vocabulary_size: int,
    data: int,
    precision: str,
    is_local: bool,
    stage: int,
) -> MemoryParts:
    size = 2 if precision == "bf16" else 4
    parameters = stage_parameters(model, parallel, vocabulary_size, stage)
    shards = data * parallel.context if parallel.distributed_optimizer else 1
    micro_batches = loop.global_batch // (loop.micro_batch * data)
    tokens = loop.sequence_length / parallel.context * loop.micro_batch
    split = parallel.tensor if parallel.sequence else 1
    hidden = tokens * size * model.hidden / split
    layer, layers = layer_activations(model, parallel, loop, precision, is_local), model.layers // parallel.pipeline
    kept = layers * (hidden if loop.recompute == "full" else layer)
    if parallel.pipeline > 1:
        kept += 2 * hidden  # what came from the stage before, and what went to the next
    is_last = stage == parallel.pipeline - 1
    logits = 0.0
    if is_last:  # fp32 scores are turned into their gradient in place; of bf16 ones there is an fp32 copy
        ids = vocabulary_size / parallel.tensor
        scores = tokens * ids * (size + 4 if precision == "bf16" else 4)
        if loop.loss_slices > 1:
            scores = slice_bytes(tokens, ids, model.hidden, loop.loss_slices, size)
        logits = scores + vocabulary_size * model.hidden / parallel.tensor * size
    inner = tokens * size * (3 * model.ffn / parallel.tensor + 2 * model.hidden)
    inner += 2 * model.ffn * model.hidden / parallel.tensor * size
    return MemoryParts(
        weights=parameters * size,
        gradients=parameters * 4,
        optimizer=parameters * (12 if precision == "bf16" else 8) / shards,
        activations=in_flight(parallel, micro_batches, stage) * kept,
        recomputation=layer if loop.recompute == "full" else 0.0,
        logits=logits,
        working=max(0.0, inner - logits),
        margin=0.0,
    )


def _with_margin(parts: MemoryParts, margin: Margin) -> MemoryParts:
    return MemoryParts(**asdict(parts) | {"margin": margin.fixed + margin.share * parts.total})
