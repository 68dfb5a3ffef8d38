"""Throughput and duration of a run: pipeline bubble, tokens a second, checkpoints, failures.

* Model FLOPs utilisation is counted strictly: 6 N without the input embedding, causal attention
  (`lm.training.model_config.LmModelConfig.flops_per_token`).
* A pipeline of p stages (v chunks each) with m micro batches idles (p - 1) / (v m + p - 1) of a step
  (Narayanan et al., arXiv 2104.04473).
* Recomputing activations adds operations that the utilisation does not count.
* A failure costs half an interval and the restart, a checkpoint its blocking time T: the best interval is
  sqrt(2 T M) at M seconds between failures (Young 1974; Daly 2006).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lm.training.loop_config import LoopConfig
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig
from runtime.config import Options, option

from .machines import Cluster


@dataclass(kw_only=True)
class Assumptions(Options):
    """Assumptions of the estimate. Every value is our choice unless its line names a source.

    Attributes:
        vocabulary_size: padded rows of embedding and output layer.
        mfu: strict utilisation of a run without pipeline bubble and recomputation. Published bf16 runs of 1.5 to 9 B on
            H100 lie between 0.33 and 0.51.
        storage_gigabytes: a second, of the file system that takes a whole checkpoint.
        host_gigabytes: a second, from each accelerator to its host; all that a background save waits for.
        block_seconds: how long a checkpoint stops training; 0: its size over the one or the other.
        restart_minutes: from a failure to the first step after it.
        gpu_hours_per_failure: Llama 3's report: 419 interruptions in 54 days on 16,384 H100.
        margin_gibibytes: of a GPU's memory for CUDA context, NCCL and workspaces.
        fragmentation: share of allocated memory lost to it.
        speech_hours: read aloud for interleaved documents of vectors.
        interleaved_tokens: of those documents, positions of speech included.
        recorded_hours: of recordings with transcripts.
        speech_share: of the positions of the training.
        positions_per_second: of speech.
        encoder_parameters: of the speech encoder.
        encoder_frames: that it computes a second.
        tts_real_time: hours of speech that an accelerator of the text-to-speech server reads aloud in an hour; a guess.
        flac_megabytes: an hour; measured (docs/experiments.md: 78 with espeak's voices).
        decode_real_time: hours of FLAC that a core decodes in an hour; measured (docs/experiments.md).
    """

    vocabulary_size: int = option(0, above=0, remedy="give the padded size")
    mfu: float = option(0.40, above=0, below=1)
    storage_gigabytes: float = option(10.0, above=0)
    host_gigabytes: float = option(10.0, above=0)
    block_seconds: float = option(0.0, at_least=0)
    restart_minutes: float = option(15.0, at_least=0)
    gpu_hours_per_failure: float = option(50_700.0, above=0)
    margin_gibibytes: float = option(4.0, at_least=0)
    fragmentation: float = option(0.05, at_least=0)
    speech_hours: float = option(0.0, at_least=0)
    interleaved_tokens: float = option(0.0, at_least=0)
    recorded_hours: float = option(0.0, at_least=0)
    speech_share: float = option(0.0, at_least=0, at_most=1)
    positions_per_second: float = option(12.5, above=0)
    encoder_parameters: float = option(0.0, at_least=0)
    encoder_frames: float = option(50.0, above=0)
    tts_real_time: float = option(20.0, above=0)
    flac_megabytes: float = option(78.0, above=0)
    decode_real_time: float = option(5600.0, above=0)


@dataclass(frozen=True, kw_only=True)
class ThroughputEstimate:
    """One run on one cluster.

    Attributes:
        tokens: of the whole run.
        micro_batches: of one step on one model copy.
        bubble: share of a step in which a pipeline process waits.
        mfu: strict utilisation that is left after bubble and recomputation.
        tokens_per_second: of the whole cluster, while it trains.
        days: until the last step, with what checkpoints and failures cost.
        gpu_hours: the same times the accelerators.
        checkpoint_bytes: weights, master weights and moments.
        block_seconds: how long saving one stops training.
        checkpoint_minutes: best time between checkpoints.
        checkpoint_steps: the same in steps.
        lost: share of the time that checkpoints, repeated work and restarts take.
        failures: expected in the run.
        hours_between_failures: on this cluster.
    """

    tokens: int
    micro_batches: int
    bubble: float
    mfu: float
    tokens_per_second: float
    days: float
    gpu_hours: float
    checkpoint_bytes: float
    block_seconds: float
    checkpoint_minutes: float
    checkpoint_steps: int
    lost: float
    failures: float
    hours_between_failures: float


def bubble_share(parallel: ParallelConfig, micro_batches: int) -> float:
    """Share of a step that a pipeline process waits."""
    idle = parallel.pipeline - 1
    return idle / (parallel.virtual * micro_batches + idle)


def recompute_factor(model: LmModelConfig, loop: LoopConfig, vocabulary_size: int) -> float:
    """Operations with recomputation over those without: the layers once more forward, or their attention alone."""
    counted = model.flops_per_token(vocabulary_size, loop.sequence_length)
    attention = 2 * model.layers * loop.sequence_length * model.heads * model.head_width
    again = {"none": 0, "selective": attention, "full": attention + 2 * model.num_inner_parameters()}
    return 1 + again.get(loop.recompute, 0) / counted


def checkpoint_size(
    model: LmModelConfig, vocabulary_size: int, precision: str, *, has_distributed_optimizer: bool = True
) -> float:
    """Bytes: bf16 weights, fp32 master weights and two moments (fp32: weights and moments).

    In fp32 the distributed optimizer writes its parts of the weights, too.
    """
    fp32 = 16.0 if has_distributed_optimizer else 12.0
    return model.num_parameters(vocabulary_size) * (14.0 if precision == "bf16" else fp32)


def estimate_throughput(
    model: LmModelConfig,
    parallel: ParallelConfig,
    loop: LoopConfig,
    cluster: Cluster,
    assumed: Assumptions,
    *,
    data: int,
) -> ThroughputEstimate:
    """Estimate the throughput of a layout on a cluster; ``data`` is the data parallel size."""
    micro_batches = loop.global_batch // (loop.micro_batch * data)
    bubble = bubble_share(parallel, micro_batches)
    mfu = assumed.mfu * (1 - bubble) / recompute_factor(model, loop, assumed.vocabulary_size)
    flops = model.flops_per_token(assumed.vocabulary_size, loop.sequence_length)
    speed = cluster.gpus * cluster.accelerator.tflops * 1e12 * mfu / flops
    tokens = loop.steps * loop.tokens_per_step
    size = checkpoint_size(
        model,
        assumed.vocabulary_size,
        "fp32" if loop.precision == "fp32" else "bf16",
        has_distributed_optimizer=parallel.distributed_optimizer,
    )
    speed_of_saving = assumed.host_gigabytes * cluster.gpus if loop.async_save else assumed.storage_gigabytes
    block = assumed.block_seconds or size / (speed_of_saving * 1e9)
    between = assumed.gpu_hours_per_failure / cluster.gpus * 3600
    interval = math.sqrt(2 * block * between)
    lost = block / interval + (interval / 2 + 60 * assumed.restart_minutes) / between
    seconds = tokens / speed * (1 + lost)
    return ThroughputEstimate(
        tokens=tokens,
        micro_batches=micro_batches,
        bubble=bubble,
        mfu=mfu,
        tokens_per_second=speed,
        days=seconds / 86400,
        gpu_hours=seconds / 3600 * cluster.gpus,
        checkpoint_bytes=size,
        block_seconds=block,
        checkpoint_minutes=interval / 60,
        checkpoint_steps=max(1, round(interval * speed / loop.tokens_per_step)),
        lost=lost,
        failures=seconds / between,
        hours_between_failures=between / 3600,
    )
