"""Turn a Megatron checkpoint into a Hugging Face folder that transformers, vLLM and SGLang load as it is.

    python -m lm.export checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export

writes ``<out>/model/``: ``config.json``, ``model*.safetensors``, ``generation_config.json``, the vocabulary's files.
The logits of both models are compared on random ids before anything is left behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.artefact import atomic_folder, write_json
from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig

from .parallel import world_size

if TYPE_CHECKING:
    from torch import Tensor

    from .checkpoint import CheckpointRecord
    from .vocabulary import Vocabulary

TOLERANCE = 1e-4  # of fp32 logits


@dataclass(kw_only=True)
class ExportConfig(StageConfig):
    """Options of lm.export.

    Attributes:
        checkpoint: output folder of lm.train.
        vocabulary: vocabulary folder.
        dtype: of the exported weights: ``fp32`` or ``bf16``.
        max_positions: longest context the config promises; 0: the training sequence length, at least 2048.
        check_length: random ids on which both models' logits are compared; 0 skips the check.
    """

    checkpoint: str
    vocabulary: str
    dtype: str = "fp32"
    max_positions: int = 0
    check_length: int = 64

    def __post_init__(self) -> None:
        check_option(self.dtype in ("fp32", "bf16"), "dtype", self.dtype, "choose fp32 or bf16")
        check_option(self.check_length >= 0, "check_length", self.check_length, "give 0 (no check) or more")


def run(config: ExportConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/model``; metrics tell the largest difference of a logit."""
    from .checkpoint import CheckpointRecord, check_shape, find_checkpoint
    from .families import huggingface_config
    from .model import DTYPES
    from .parallel import ParallelConfig
    from .processes import open_processes
    from .vocabulary import Vocabulary

    if world_size() > 1:
        raise UserError("lm.export", found=f"{world_size()} processes", remedy="run it as one process")
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    path = find_checkpoint(config.checkpoint)
    record = CheckpointRecord.read(path)
    check_shape(record, record.model, vocabulary.fingerprint, record.vocabulary_size, path)
    with open_processes(ParallelConfig()):
        weights, ids, logits = _read(path, record, vocabulary, config.check_length, config.seed)
    run.say(f"step {record.step} of {path}: {record.model.num_parameters(vocabulary.size):,} parameters")
    max_positions = config.max_positions or max(2048, record.sequence_length)
    settings = huggingface_config(
        record.model,
        num_ids=vocabulary.size,
        max_positions=max_positions,
        dtype=config.dtype,
        eos=vocabulary.eos,
        pad=vocabulary.pad,
    )
    difference = _compare(weights, settings, ids, logits) if config.check_length else 0.0
    weights = {name: weight.to(DTYPES[config.dtype]) for name, weight in weights.items()}
    _write(run.folder / "model", weights, settings, vocabulary)
    return {
        "parameters": record.model.num_parameters(vocabulary.size),
        "step": record.step,
        "logit_difference": difference,
    }


def _read(
    path: Path, record: CheckpointRecord, vocabulary: Vocabulary, check_length: int, seed: int
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """The weights under Hugging Face's names, random ids (1, T), and megatron-core's logits (1, T, V) for them."""
    import torch

    from .checkpoint import load_weights
    from .hf_mapping import to_huggingface
    from .model import build_model, transformer_config
    from .parallel import ParallelConfig

    core = transformer_config(record.model, ParallelConfig(), precision="fp32", uses_engine=False)
    length = max(record.sequence_length, check_length)
    chunk = build_model(record.model, core, vocabulary_size=record.vocabulary_size, sequence_length=length, seed=seed)[
        0
    ].eval()
    load_weights(path, [chunk])
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary.size, (1, check_length), generator=generator)
    logits = torch.zeros(1, 0, vocabulary.size)
    if check_length:
        device = next(chunk.parameters()).device
        positions = torch.arange(check_length, device=device)[None]
        with torch.no_grad():
            logits = chunk(ids.to(device), positions, None)[..., : vocabulary.size].float().cpu()
    weights = {name: weight.detach().cpu() for name, weight in chunk.state_dict().items() if weight is not None}
    return to_huggingface(weights, record.model, vocabulary.size), ids, logits


def _compare(weights: dict[str, Tensor], settings: dict[str, Any], ids: Tensor, logits: Tensor) -> float:
    """The largest difference between both models' logits, in fp32."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**settings | {"dtype": "float32"})
    with torch.device("meta"):
        theirs = AutoModelForCausalLM.from_config(config)
    theirs.to_empty(device="cpu")
    theirs.load_state_dict(weights, strict=not settings["tie_word_embeddings"])
    theirs.tie_weights()
    theirs.model.rotary_emb = type(theirs.model.rotary_emb)(theirs.config)  # its frequencies are in no state dict
    with torch.no_grad():
        found = theirs.eval()(ids).logits
    difference = float((found - logits).abs().max())
    assert difference <= TOLERANCE * max(1.0, float(logits.abs().max())), f"exported logits differ by {difference}"
    return difference


def _write(folder: Path, weights: dict[str, Tensor], settings: dict[str, Any], vocabulary: Vocabulary) -> None:
    from huggingface_hub import save_torch_state_dict

    with atomic_folder(folder) as temporary:
        save_torch_state_dict(weights, temporary, max_shard_size="5GB", metadata={"format": "pt"})
        for file in temporary.iterdir():
            file.chmod(0o644)
        write_json(temporary / "config.json", settings)
        generation = {"eos_token_id": vocabulary.eos, "pad_token_id": vocabulary.pad}
        write_json(temporary / "generation_config.json", generation)
        vocabulary.save_pretrained(temporary)


STAGE = Stage(
    name="lm.export",
    config=ExportConfig,
    run=run,
    summary="Export a language model checkpoint as a Hugging Face folder (Llama, Qwen2, Qwen3 or GLM).",
    inputs=lambda config: [config.checkpoint, config.vocabulary],
    example="checkpoint=runs/lm vocabulary=runs/vocabulary/vocabulary out=runs/lm_export",
)

if __name__ == "__main__":
    STAGE.exit()
