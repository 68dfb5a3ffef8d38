"""Turn a Megatron checkpoint into a Hugging Face folder that transformers, vLLM and SGLang load as it is.

    python -m lm.export checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export

writes ``<out>/model/``: ``config.json``, ``model*.safetensors``, ``generation_config.json``, the vocabulary's files and
the chat template. Matrices pass through one at a time and files are written shard by shard, so memory is bounded by a
shard. Up to ``check_up_to`` parameters the logits of both models are compared before anything is left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import atomic_folder, write_json
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

from .training.parallel import world_size

if TYPE_CHECKING:
    from torch import Tensor

    from .data.vocabulary import Vocabulary
    from .training.checkpoint import CheckpointRecord

TOLERANCE = 1e-4  # of fp32 logits


@dataclass(kw_only=True)
class ExportConfig(StageConfig):
    """Options of lm.export.

    Attributes:
        checkpoint: output folder of lm.train or lm.import_hf.
        vocabulary: vocabulary folder.
        dtype: of the exported weights: ``fp32``, ``bf16``, or ``checkpoint``: as they were trained.
        max_positions: longest context the config promises; 0: the training sequence length, at least 2048.
        shard_gigabytes: most of one safetensors file; it is held in memory while it is filled.
        chat_template: ``auto`` (the base model's where the vocabulary has one, else ours), ``speechweave`` (ours: a
            model fine-tuned on our dialogue format), ``none``, or a Jinja file.
        check_length: random ids on which both models' logits are compared; 0 skips the check.
        check_up_to: the check holds one model at a time in fp32; it is left out above this many parameters.
    """

    checkpoint: str
    vocabulary: str
    dtype: str = "fp32"
    max_positions: int = 0
    shard_gigabytes: float = 2.0
    chat_template: str = "auto"
    check_length: int = 64
    check_up_to: int = 2_000_000_000

    def __post_init__(self) -> None:
        known = ("fp32", "bf16", "checkpoint")
        check_option(self.dtype in known, "dtype", self.dtype, f"choose one of {', '.join(known)}")
        check_option(self.check_length >= 0, "check_length", self.check_length, "give 0 (no check) or more")
        check_option(self.shard_gigabytes > 0, "shard_gigabytes", self.shard_gigabytes, "give a positive number")


def run(config: ExportConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``; metrics tell the largest difference of a logit."""
    from .data.chat_template import find_template
    from .data.vocabulary import Vocabulary
    from .huggingface.families import huggingface_config
    from .training.checkpoint import CheckpointRecord, check_shape, find_checkpoint
    from .training.parallel import ParallelConfig
    from .training.processes import open_processes

    if world_size() > 1:
        raise UserError("lm.export", found=f"{world_size()} processes", remedy="run it as one process")
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    template = find_template(config.chat_template, vocabulary)
    path = find_checkpoint(config.checkpoint)
    record = CheckpointRecord.read(path)
    check_shape(record, record.model, vocabulary.fingerprint, record.vocabulary_size, path)
    size = record.model.num_parameters(vocabulary.size)
    run.say(f"step {record.step} of {path}: {size:,} parameters")
    dtype = record.precision if config.dtype == "checkpoint" else config.dtype
    settings = huggingface_config(
        record.model,
        num_ids=vocabulary.size,
        max_positions=config.max_positions or max(2048, record.sequence_length),
        dtype=dtype,
        eos=vocabulary.eos,
        pad=vocabulary.pad,
    )
    metrics: dict[str, Any] = {"parameters": size, "step": record.step}
    with atomic_folder(run.folder / "model") as folder, open_processes(ParallelConfig()):
        _write_weights(folder, path, record, vocabulary.size, dtype, int(config.shard_gigabytes * 1e9), run)
        write_json(folder / "config.json", settings)
        generation = {"eos_token_id": vocabulary.eos, "pad_token_id": vocabulary.pad}
        write_json(folder / "generation_config.json", generation)
        vocabulary.save_pretrained(folder, chat_template=template)
        if config.check_length and size <= config.check_up_to:
            metrics["logit_difference"] = _compare(folder, path, record, vocabulary, dtype, config)
        elif config.check_length:
            run.say(f"logits not compared: more than check_up_to={config.check_up_to:,} parameters")
    return metrics


def _write_weights(
    folder: Path, path: Path, record: CheckpointRecord, num_ids: int, dtype: str, shard_size: int, run: Run
) -> None:
    """Write the safetensors files, one matrix of the checkpoint in memory besides the shard."""
    from .huggingface.mappings import rows
    from .huggingface.streamed_checkpoint import CheckpointTensors
    from .huggingface.weights import SafetensorsWriter
    from .training.model import DTYPES

    table = list(rows(record.model))
    stored, writer = CheckpointTensors(path, record), SafetensorsWriter(folder, shard_size)
    with run.progress(len(table), "matrices", unit="matrix") as bar:
        for row in table:
            parts = row.to_huggingface(stored.read(row.core).to(DTYPES[dtype]), record.model, num_ids)
            for name, part in parts.items():
                writer.add(name, part)
            bar.update()
    writer.close()


def _compare(
    folder: Path, path: Path, record: CheckpointRecord, vocabulary: Vocabulary, dtype: str, config: ExportConfig
) -> float:
    """The largest difference between megatron-core's logits of the checkpoint and transformers' of the folder."""
    import torch
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(config.seed)
    ids = torch.randint(vocabulary.size, (1, config.check_length), generator=generator)
    logits = _core_logits(path, record, ids, dtype, config.seed)[..., : vocabulary.size]
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        difference = float((theirs(ids).logits - logits).abs().max())
    assert difference <= TOLERANCE * max(1.0, float(logits.abs().max())), f"exported logits differ by {difference}"
    return difference


def _core_logits(path: Path, record: CheckpointRecord, ids: Tensor, dtype: str, seed: int) -> Tensor:
    """megatron-core's logits (1, T, V) for ids (1, T), in fp32 with the weights rounded as they are exported."""
    import torch

    from .training.checkpoint import load_weights
    from .training.model import DTYPES, build_model, transformer_config
    from .training.parallel import ParallelConfig

    core = transformer_config(record.model, ParallelConfig(), precision="fp32", uses_engine=False)
    length = max(record.sequence_length, ids.size(1))
    chunk = build_model(record.model, core, vocabulary_size=record.vocabulary_size, sequence_length=length, seed=seed)[
        0
    ].eval()
    load_weights(path, [chunk])
    with torch.no_grad():
        for parameter in chunk.parameters():
            parameter.copy_(parameter.to(DTYPES[dtype]))
        device = next(chunk.parameters()).device
        positions = torch.arange(ids.size(1), device=device)[None]
        logits: Tensor = chunk(ids.to(device), positions, None)
    return logits.float().cpu()


STAGE = Stage(
    name="lm.export",
    config=ExportConfig,
    run=run,
    summary="Export a language model checkpoint as a Hugging Face folder (Llama, Qwen2, Qwen3, GLM).",
    inputs=lambda config: [config.checkpoint, config.vocabulary],
    example="checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export",
)

if __name__ == "__main__":
    STAGE.exit()
