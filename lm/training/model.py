"""megatron-core's `GPTModel` in the shape of `LmModelConfig`, laid out by `ParallelConfig`, initialised in one place.

Initial weights depend on the seed and the parameter's name only, never on the layout: each process draws the whole
matrix and keeps its part. So tensor, pipeline and plain runs start from the same model.

| parameter                       | initial value                                  |
|---------------------------------|------------------------------------------------|
| biases                          | 0                                              |
| norms                           | 1                                              |
| linear_proj, linear_fc2         | normal, init_std / sqrt(2 layers)              |
| embedding, output_layer, others | normal, init_std                               |
| a speech encoder's              | as they were loaded                            |
"""

from __future__ import annotations

import math
import re
import warnings
from typing import Any, cast

import torch
import torch.distributed as dist
from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel, DistributedDataParallelConfig, finalize_model_grads
from megatron.core.transformer.module import Float16Module, MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor

from runtime.hashing import text_number

from .cross_entropy import LanguageModel
from .loop_config import LoopConfig
from .model_config import LmModelConfig
from .parallel import ParallelConfig
from .processes import seed_processes
from .rotary import RotaryTable
from .spec import has_transformer_engine, layer_spec
from .speech_input import ENCODER_PREFIX, freeze
from .speech_setup import SpeechSetup

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def resolve_precision(option: str) -> str:
    """``auto`` is bf16 where the hardware multiplies bf16 fast, else fp32."""
    if option != "auto":
        return option
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    is_fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bf16" if is_fast else "fp32"


def transformer_config(
    model: LmModelConfig,
    parallel: ParallelConfig,
    *,
    precision: str = "fp32",
    recompute: str = "none",
    uses_engine: bool = True,
    fp8: str = "none",
    fp8_recipe: str = "delayed",
    fuses_gradients: bool = False,
) -> TransformerConfig:
    """megatron-core's config for our options.

    Args:
        model: the shape.
        parallel: the layout.
        precision: of the weights.
        recompute: of activations.
        uses_engine: take Transformer Engine's layers where it imports.
        fp8: format of its products, ``none`` for none.
        fp8_recipe: their scaling.
        fuses_gradients: add weight gradients to the gradient buffers inside of their products; only for a model that
            `wrap_for_training` gives such buffers.
    """
    on_gpu = torch.cuda.is_available()
    # In a ring of two, "next" and "previous" are the same process: batched messages are confused with each other,
    # without an error. On gloo they are in every ring.
    is_two_ring = parallel.pipeline == 2 and parallel.virtual > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TransformerConfig(
            num_layers=model.layers,
            hidden_size=model.hidden,
            num_attention_heads=model.heads,
            num_query_groups=model.kv_heads,
            kv_channels=model.head_width,
            ffn_hidden_size=model.ffn,
            normalization="RMSNorm",
            layernorm_epsilon=model.norm_epsilon,
            gated_linear_unit=True,
            activation_func=torch.nn.functional.silu,
            add_bias_linear=False,
            add_qkv_bias=model.qkv_bias,
            qk_layernorm=model.qk_norm,
            rotary_interleaved=model.rope_interleaved,
            attention_dropout=0.0,
            hidden_dropout=model.dropout,
            init_method=_leave_uninitialised,  # `initialise` does it, whatever the layout
            output_layer_init_method=_leave_uninitialised,
            params_dtype=DTYPES[precision],
            pipeline_dtype=DTYPES[precision],
            bf16=precision == "bf16",
            attention_softmax_in_fp32=True,
            tensor_model_parallel_size=parallel.tensor,
            sequence_parallel=parallel.sequence,
            pipeline_model_parallel_size=parallel.pipeline,
            virtual_pipeline_model_parallel_size=parallel.virtual if parallel.virtual > 1 else None,
            context_parallel_size=parallel.context,
            overlap_p2p_comm=parallel.overlap_p2p,
            batch_p2p_comm=on_gpu and not parallel.overlap_p2p and not is_two_ring,
            deallocate_pipeline_outputs=parallel.deallocate_outputs,
            use_cpu_initialization=not on_gpu,
            gradient_accumulation_fusion=fuses_gradients,
            tp_comm_overlap=parallel.overlap_tensor,
            bias_activation_fusion=on_gpu,
            use_te_activation_func=not on_gpu,  # asks megatron-core for the spec's activation: `swiglu`
            bias_dropout_fusion=on_gpu,
            masked_softmax_fusion=False,
            cross_entropy_loss_fusion=on_gpu,
            calculate_per_token_loss=True,  # gradients are divided by the labels of the whole step, not per micro batch
            recompute_granularity=None if recompute == "none" else recompute,
            recompute_method="uniform" if recompute == "full" else None,
            recompute_num_layers=1 if recompute == "full" else None,
            fp8=None if fp8 == "none" else cast(Any, fp8),
            fp8_recipe=cast(Any, fp8_recipe),
            transformer_impl="transformer_engine" if uses_engine and has_transformer_engine() else "local",
        )


def build_model(
    model: LmModelConfig,
    config: TransformerConfig,
    *,
    vocabulary_size: int,
    sequence_length: int,
    seed: int,
    speech: SpeechSetup | None = None,
) -> list[MegatronModule]:
    """The chunks of the model this process holds (one but for virtual pipelines), on its device, initialised.

    Args:
        model: the shape.
        config: megatron-core's config made from it.
        vocabulary_size: padded number of ids.
        sequence_length: longest sequence.
        seed: of the initial weights.
        speech: gives the first chunk a speech input, and freezes the parts that do not train.
    """
    seed_processes(seed, 0)  # layers ask for named random states when they are built, on a GPU
    stages = config.virtual_pipeline_model_parallel_size
    chunks: list[MegatronModule] = []
    for stage in range(stages) if stages else [None]:
        chunk = empty_chunk(
            model, config, vocabulary_size=vocabulary_size, sequence_length=sequence_length, stage=stage
        )
        if speech is not None and chunk.pre_process:
            chunk.speech_input = speech.build(model.hidden, is_sequence_parallel=config.sequence_parallel)
        chunk.to(torch.cuda.current_device())
        initialise(chunk, model, seed)
        if speech is not None:
            freeze(chunk, speech.config.train)
        chunks.append(Float16Module(config, chunk) if config.bf16 else chunk)
    return chunks


def empty_chunk(
    model: LmModelConfig,
    config: TransformerConfig,
    *,
    vocabulary_size: int,
    sequence_length: int,
    stage: int | None = None,
) -> LanguageModel:
    """The chunk of (virtual) pipeline stage ``stage``, its weights not initialised."""
    chunk = LanguageModel(
        config=config,
        transformer_layer_spec=layer_spec(config, stage, sandwich_norm=model.sandwich_norm),
        vocab_size=vocabulary_size,
        max_sequence_length=sequence_length,
        pre_process=parallel_state.is_pipeline_first_stage(ignore_virtual=False, vp_stage=stage),
        post_process=parallel_state.is_pipeline_last_stage(ignore_virtual=False, vp_stage=stage),
        share_embeddings_and_output_weights=model.tied,
        position_embedding_type="none",  # megatron-core's; ours are `lm.training.rotary`
        vp_stage=stage,
    )
    chunk.rotary = RotaryTable(model)
    return chunk


def wrap_for_training(
    chunks: list[MegatronModule], config: TransformerConfig, parallel: ParallelConfig
) -> list[DistributedDataParallel]:
    """Give each chunk its gradient buffers and data parallel reduction, and tell the schedules how to finish a step."""
    reduction = DistributedDataParallelConfig(
        grad_reduce_in_fp32=True,
        overlap_grad_reduce=parallel.overlaps_gradients(on_gpu=torch.cuda.is_available()),
        overlap_param_gather=parallel.overlap_param_gather,
        bucket_size=parallel.bucket_size or None,
        use_distributed_optimizer=parallel.distributed_optimizer,
    )
    wrapped = [
        # As in megatron-core's own loop: the reduction of later virtual chunks overlaps with computation anyway.
        DistributedDataParallel(config, reduction, chunk, disable_bucketing=number > 0)
        for number, chunk in enumerate(chunks)
    ]
    for chunk in wrapped:
        chunk.broadcast_params()
    # The schedules read these two from the config: at the end of a step the gradients of replicated parameters (tied
    # embeddings, norms under sequence parallel) are reduced; before the last micro batch data parallel stays silent.
    config.finalize_model_grads_func = finalize_gradients
    if reduction.overlap_grad_reduce:
        syncs = [chunk.no_sync for chunk in wrapped]
        config.no_sync_func = syncs[0] if len(syncs) == 1 else cast(Any, syncs)
    return wrapped


def gather_parameters(chunks: list[DistributedDataParallel]) -> None:
    """Bring the weights up to date where they are gathered in the next forward pass only."""
    for chunk in chunks:
        if chunk.ddp_config.overlap_param_gather:
            chunk.start_param_sync(force_sync=True)


def open_tensor_overlap(parallel: ParallelConfig, loop: LoopConfig, model: LmModelConfig) -> None:
    """Open Transformer Engine's user buffers, in which tensor parallel communication overlaps with products."""
    from transformer_engine.pytorch.module.base import initialize_ub

    initialize_ub(
        [loop.sequence_length * loop.micro_batch // parallel.context, model.hidden],
        parallel.tensor,
        loop.fp8 != "none",
        bootstrap_backend="nccl",
    )


def finalize_gradients(
    chunks: list[DistributedDataParallel], num_tokens: Tensor | None = None, *arguments: Any, **options: Any
) -> None:
    """megatron-core's reduction of gradients, and their division by the number of targets of the step.

    megatron-core asks the device whether that number is 0 before it divides.
    """
    finalize_model_grads(chunks, None, *arguments, **options)
    if num_tokens is None:
        return
    pipeline = parallel_state.get_pipeline_model_parallel_group()
    dist.broadcast(num_tokens, parallel_state.get_pipeline_model_parallel_last_rank(), group=pipeline)
    dist.all_reduce(num_tokens, group=parallel_state.get_data_parallel_group(with_context_parallel=True))
    for chunk in chunks:
        chunk.scale_gradients(cast(float, 1.0 / num_tokens.clamp(min=1)))


def initialise(chunk: torch.nn.Module, model: LmModelConfig, seed: int) -> None:
    """Set the chunk's initial weights; see the table above."""
    layers = {layer_name: layer.layer_number for layer_name, layer in chunk.named_modules() if _is_layer(layer_name)}
    for name, parameter in chunk.named_parameters():
        with torch.no_grad():
            if name.startswith(ENCODER_PREFIX):
                continue
            if name.endswith(".bias"):
                parameter.zero_()
                continue
            if "norm" in name.rsplit(".", 2)[-2] or "layer_norm" in name:
                parameter.fill_(1.0)
                continue
            deviation = model.init_std
            if "linear_proj" in name or "linear_fc2" in name:
                deviation /= math.sqrt(2 * model.layers)
            whole = _draw(_global_name(name, layers, model.tied), parameter, deviation, seed)
            parameter.copy_(_local_part(whole, parameter, num_blocks=2 if "linear_fc1" in name else 1))


def _is_layer(name: str) -> bool:
    return re.fullmatch(r"decoder\.layers\.\d+", name) is not None


def _global_name(name: str, layers: dict[str, int], is_tied: bool) -> str:
    """The parameter's name in the whole model: a layer's number counts from the first pipeline stage."""
    if is_tied and name == "output_layer.weight":
        return "embedding.word_embeddings.weight"
    for layer, number in layers.items():
        if name.startswith(layer + "."):
            return f"layers.{number}.{name[len(layer) + 1 :]}"
    return name


def _draw(name: str, parameter: Tensor, deviation: float, seed: int) -> Tensor:
    """The whole matrix the parameter is a part of, from a generator seeded by (seed, name)."""
    generator = torch.Generator(parameter.device).manual_seed(text_number(f"{seed}/{name}", num_bytes=7))
    shape = list(parameter.shape)
    if getattr(parameter, "tensor_model_parallel", False):
        shape[cast(Any, parameter).partition_dim] *= parallel_state.get_tensor_model_parallel_world_size()
    whole = torch.empty(shape, dtype=torch.float32, device=parameter.device)
    return whole.normal_(0.0, deviation, generator=generator)


def _local_part(whole: Tensor, parameter: Tensor, *, num_blocks: int) -> Tensor:
    """This tensor parallel process's part: a part of each block (SwiGLU's gate and up are two blocks of one matrix)."""
    if not getattr(parameter, "tensor_model_parallel", False):
        return whole
    axis, rank = cast(Any, parameter).partition_dim, parallel_state.get_tensor_model_parallel_rank()
    size = parallel_state.get_tensor_model_parallel_world_size()
    return torch.cat([block.chunk(size, axis)[rank] for block in whole.chunk(num_blocks, axis)], axis)


def _leave_uninitialised(weight: Tensor) -> Tensor:
    """An init method that does nothing."""
    return weight
