"""Export of a Megatron checkpoint as a Hugging Face folder.

Matrices pass through one at a time and files are written shard by shard, so memory is bounded by a shard. Up to
``check_up_to`` parameters the logits of both models are compared before anything is left behind.

Shapes: T ids of the check, V ids of the vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lm.data.chat_template import find_template
from lm.data.request_format import generation_end_ids
from lm.data.vocabulary import Vocabulary
from lm.training.checkpoint import CheckpointRecord, check_shape, find_checkpoint, load_weights
from lm.training.model import DTYPES, build_model, transformer_config
from lm.training.parallel import ParallelConfig, world_size
from lm.training.processes import open_processes
from runtime.artefact import atomic_folder, write_json
from runtime.errors import UserError
from runtime.stage import Run

from .config import ExportConfig
from .mappings import weight_mappings
from .model_configs import LLAMA3_ROPE, huggingface_config
from .speech_export import export_speech
from .streamed_checkpoint import CheckpointTensors
from .weights import SafetensorsWriter

TOLERANCE = 1e-4  # of fp32 logits, relative to the largest


@dataclass(frozen=True, kw_only=True)
class SourceCheckpoint:
    """The checkpoint to export.

    Attributes:
        path: its folder.
        record: its ``checkpoint.json``.
        dtype: of the exported weights, ``fp32`` or ``bf16``.
    """

    path: Path
    record: CheckpointRecord
    dtype: str


def export_checkpoint(config: ExportConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``; returns the metrics of `lm.export`.

    Raises:
        UserError: several processes, no checkpoint, another vocabulary than its, or what `huggingface_config` refuses.
    """
    if world_size() > 1:
        raise UserError("lm.export", found=f"{world_size()} processes", remedy="run it as one process")
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    template = find_template(config.chat_template, vocabulary)
    ends = generation_end_ids(vocabulary, template)
    path = find_checkpoint(config.checkpoint)
    record = CheckpointRecord.read(path)
    check_shape(record, record.model, vocabulary.fingerprint, record.vocabulary_size, path)
    dtype = record.precision if config.dtype == "checkpoint" else config.dtype
    source = SourceCheckpoint(path=path, record=record, dtype=dtype)
    size = record.model.num_parameters(vocabulary.size)
    run.say(f"step {record.step} of {path}: {size:,} parameters")
    settings = huggingface_config(
        record.model,
        num_ids=vocabulary.size,
        max_positions=config.max_positions or default_positions(record),
        dtype=dtype,
        eos=ends,
        pad=vocabulary.pad,
    )
    metrics: dict[str, Any] = {"parameters": size, "step": record.step}
    if record.speech is not None:
        with open_processes(ParallelConfig()):
            metrics |= export_speech(path, record, run)
    with atomic_folder(run.folder / "model") as folder, open_processes(ParallelConfig()):
        write_weights(folder, source, vocabulary.size, int(config.shard_gigabytes * 1e9), run)
        write_json(folder / "config.json", settings)
        generation = {"eos_token_id": ends, "pad_token_id": vocabulary.pad}
        write_json(folder / "generation_config.json", generation)
        vocabulary.save_pretrained(folder, chat_template=template)
        if config.check_length and size <= config.check_up_to:
            metrics["logit_difference"] = logit_difference(
                folder, source, vocabulary.size, length=config.check_length, seed=config.seed
            )
        elif config.check_length:
            run.say(f"logits not compared: more than check_up_to={config.check_up_to:,} parameters")
    return metrics


def default_positions(record: CheckpointRecord) -> int:
    """Longest context that an exported config promises: the training sequence, at least 2048, and all of a slowed
    rotary embedding's range, which transformers demands to be longer than the original one."""
    stretched = record.model.rope_scaling * LLAMA3_ROPE["original_max_position_embeddings"]
    return max(2048, record.sequence_length, math.ceil(stretched) if record.model.rope_scaling != 1.0 else 0)


def write_weights(folder: Path, source: SourceCheckpoint, num_ids: int, shard_size: int, run: Run) -> None:
    """Write the safetensors files; besides the shard of ``shard_size`` bytes one matrix is held in memory."""
    model = source.record.model
    mappings = list(weight_mappings(model))
    stored, writer = CheckpointTensors(source.path, source.record), SafetensorsWriter(folder, shard_size)
    with run.progress(len(mappings), "matrices", unit="matrix") as bar:
        for mapping in mappings:
            matrix = stored.read(mapping.megatron).to(DTYPES[source.dtype])
            for name, part in mapping.to_huggingface(matrix, model, num_ids).items():
                writer.add(name, part)
            bar.update()
    writer.close()


def logit_difference(folder: Path, source: SourceCheckpoint, num_ids: int, *, length: int, seed: int) -> float:
    """The largest difference between megatron-core's logits of the checkpoint and transformers' of the folder.

    Args:
        folder: the exported model.
        source: the checkpoint.
        num_ids: V.
        length: T, random ids that both models read.
        seed: of the ids.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(num_ids, (1, length), generator=generator)
    logits = megatron_logits(source, ids, seed)[..., :num_ids]
    exported = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        difference = float((exported(ids).logits - logits).abs().max())
    assert difference <= TOLERANCE * max(1.0, float(logits.abs().max())), f"exported logits differ by {difference}"
    return difference


def megatron_logits(source: SourceCheckpoint, ids: Tensor, seed: int) -> Tensor:
    """megatron-core's logits (1, T, V) for ids (1, T), in fp32 with the weights rounded as they are exported."""
    record = source.record
    core = transformer_config(record.model, ParallelConfig(), precision="fp32", uses_engine=False)
    length = max(record.sequence_length, ids.size(1))
    (chunk,) = build_model(
        record.model, core, vocabulary_size=record.vocabulary_size, sequence_length=length, seed=seed
    )
    load_weights(source.path, [chunk.eval()])
    with torch.no_grad():
        for parameter in chunk.parameters():
            parameter.copy_(parameter.to(DTYPES[source.dtype]))
        device = next(chunk.parameters()).device
        positions = torch.arange(ids.size(1), device=device)[None]
        logits: Tensor = chunk(ids.to(device), positions, None)
    return logits.float().cpu()
