"""Import of a Hugging Face model as a Megatron checkpoint, its embedding grown to a larger vocabulary.

The safetensors are read one matrix at a time: memory is bounded by the grown embedding, not by the model. Rows of new
ids are the mean of the known ones and a little noise.

Shapes: D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from tokenizers import Tokenizer
from torch import Tensor

from lm.data.vocabulary import Vocabulary
from lm.training.checkpoint import CheckpointRecord
from lm.training.model_config import LmModelConfig
from lm.training.parallel import ParallelConfig, world_size
from lm.training.processes import open_processes
from runtime.artefact import read_json, write_text
from runtime.errors import UserError
from runtime.stage import Run

from .chatglm import MODEL_TYPE, ChatGlmWeights, glm_config
from .config import ImportHfConfig
from .mappings import ID_MATRICES, weight_mappings
from .model_configs import model_config
from .streamed_checkpoint import write_checkpoint
from .weights import HuggingFaceWeights

BLOCK_ROWS = 1024  # of an embedding that are read at once


def import_checkpoint(config: ImportHfConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/checkpoint`` and ``<out>/model.yaml``; returns the metrics of `lm.import_hf`.

    Raises:
        UserError: several processes, a family or feature that our decoder has not, broken files, or a vocabulary that
            was not grown from the model's.
    """
    if world_size() > 1:
        raise UserError("lm.import_hf", found=f"{world_size()} processes", remedy="run it as one process")
    source, parallel = Path(config.model), ParallelConfig()
    content, file = read_json(source / "config.json"), str(source / "config.json")
    is_original = content.get("model_type") == MODEL_TYPE
    content = glm_config(content, file) if is_original else content
    shape = model_config(content, vocabulary_multiple=config.vocabulary_multiple, subject=file)
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    num_known = check_grown_from(Path(config.vocabulary), source)
    num_rows = vocabulary.padded_size(shape.vocabulary_multiple)
    mappings = {mapping.megatron: mapping for mapping in weight_mappings(shape)}
    if is_original:
        counts = {"heads": shape.heads, "kv_heads": shape.kv_heads, "head_width": shape.head_width}
        weights: HuggingFaceWeights = ChatGlmWeights(source, **counts)
    else:
        weights = HuggingFaceWeights(source)
    weights.check_names({name for mapping in mappings.values() for name in mapping.huggingface})
    record = CheckpointRecord(
        step=0,
        model=shape,
        vocabulary=vocabulary.fingerprint,
        vocabulary_size=num_rows,
        sequence_length=config.sequence_length,
        parallel=parallel,
        precision=source_precision(weights) if config.precision == "source" else config.precision,
    )
    with run.progress(len(mappings), "matrices", unit="matrix") as bar, open_processes(parallel):

        def matrix(name: str) -> Tensor:
            bar.update()
            mapping = mappings[name]
            if name in ID_MATRICES:
                return grown_matrix(weights, mapping.huggingface[0], shape, num_known, num_rows, config)
            return mapping.to_megatron(weights.read, shape)

        write_checkpoint(run.folder / "checkpoint", record, list(mappings), matrix)
    write_text(run.folder / "model.yaml", OmegaConf.to_yaml(OmegaConf.create({"model": asdict(shape)})))
    run.say(f"shape for lm.train: --config {run.folder / 'model.yaml'}")
    return {
        "parameters": shape.num_parameters(num_rows),
        "new_ids": vocabulary.size - num_known,
        "precision": record.precision,
    }


def source_precision(weights: HuggingFaceWeights) -> str:
    """``bf16`` for a model saved in it, else ``fp32``."""
    return "bf16" if weights.dtype("model.embed_tokens.weight") == torch.bfloat16 else "fp32"


def check_grown_from(vocabulary: Path, folder: Path) -> int:
    """The number of ids of the model's own tokenizer; they must be the vocabulary's first ones.

    Raises:
        UserError: no tokenizer there, or the vocabulary was made from another one.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        remedy = "give the model's folder with its fast tokenizer (of GLM-4-9B put that of the -hf conversion there)"
        raise UserError(str(file), found="no such file", remedy=remedy)
    base: dict[str, int] = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    ours: dict[str, int] = Tokenizer.from_file(str(vocabulary / "tokenizer.json")).get_vocab(with_added_tokens=True)
    wrong = next((token for token, id in base.items() if ours.get(token) != id), None)
    if wrong is not None:
        found = f"token {wrong!r} is id {base[wrong]} there and {ours.get(wrong)} in the vocabulary"
        raise UserError(str(file), found=found, remedy=f"grow the vocabulary from it: lm.vocabulary base={folder}")
    return max(base.values()) + 1


def grown_matrix(
    weights: HuggingFaceWeights, name: str, shape: LmModelConfig, num_known: int, num_rows: int, config: ImportHfConfig
) -> Tensor:
    """An embedding or output layer (num_rows, D) with rows for the new ids.

    Raises:
        UserError: fewer rows in the model's files than its tokenizer has ids.
    """
    num_stored, width = weights.shape(name)
    if num_stored < num_known or width != shape.hidden:
        found = f"{name} of {num_stored} x {width} for a tokenizer of {num_known} ids and hidden_size {shape.hidden}"
        raise UserError(str(weights.folder), found=found, remedy="give the tokenizer and config.json of this model")
    return grow_rows(
        lambda start, stop: weights.read_rows(name, start, stop),
        width,
        num_known=num_known,
        num_rows=num_rows,
        noise=config.noise,
        seed=config.seed,
    )


def grow_rows(
    read_rows: Callable[[int, int], Tensor], width: int, *, num_known: int, num_rows: int, noise: float, seed: int
) -> Tensor:
    """A matrix of one row an id with rows for new ids: the mean of the known ones and a little noise.

    Args:
        read_rows: gives rows ``start`` to ``stop`` of the known matrix; it is read in blocks.
        width: D.
        num_known: ids that mean something to the known matrix (its own padding rows are left out).
        num_rows: rows of the result, (num_rows, D) of the known matrix's type.
        noise: standard deviation of the new rows in that of the known rows, column by column.
        seed: of the noise.
    """
    num_known = min(num_known, num_rows)
    moments_2D = torch.zeros(2, width, dtype=torch.float64)  # sums of values and of squares
    result = torch.empty(num_rows, width, dtype=read_rows(0, 1).dtype)
    for start in range(0, num_known, BLOCK_ROWS):
        block = read_rows(start, min(start + BLOCK_ROWS, num_known))
        result[start : start + len(block)] = block
        wide = block.double()
        moments_2D += torch.stack([wide.sum(0), wide.square().sum(0)])
    mean_D = moments_2D[0] / num_known
    deviation_D = (moments_2D[1] / num_known - mean_D.square()).clamp_min(0).sqrt() * noise
    generator = torch.Generator().manual_seed(seed)
    for start in range(num_known, num_rows, BLOCK_ROWS):
        part = result[start : start + BLOCK_ROWS]
        part.copy_(mean_D + deviation_D * torch.randn(part.shape, generator=generator, dtype=torch.float64))
    return result
