"""Turn a Hugging Face model into a checkpoint to begin training with, its vocabulary grown by speech.

    python -m lm.vocabulary base=MODEL tokens=runs/tokens out=runs/vocabulary
    python -m lm.import_hf model=MODEL vocabulary=runs/vocabulary/vocabulary out=runs/base
    python -m lm.train --config runs/base/model.yaml init=runs/base vocabulary=runs/vocabulary/vocabulary ...

Llama-3, Qwen2, Qwen2.5, Qwen3 and GLM-4 models (``glm`` and ``glm4``), read from their safetensors files one matrix at
a time: memory is bounded by the grown embedding, not by the model. The checkpoint loads under any tensor and pipeline
parallel layout. Rows of new ids are the mean of the known ones and a little noise. ``<out>/model.yaml`` holds the
shape, for lm.train.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.artefact import read_json, write_text
from runtime.errors import UserError, check_option
from runtime.stage import Run, Stage, StageConfig

from .training.parallel import world_size

if TYPE_CHECKING:
    from torch import Tensor

    from .huggingface.weights import HuggingFaceWeights
    from .training.model_config import LmModelConfig


@dataclass(kw_only=True)
class ImportHfConfig(StageConfig):
    """Options of lm.import_hf.

    Attributes:
        model: folder of a Hugging Face model (config.json, safetensors, tokenizer.json).
        vocabulary: vocabulary folder that lm.vocabulary grew from that model's tokenizer.
        precision: of the checkpoint's weights: ``source`` (as in the files; fp16 becomes fp32), ``bf16`` or ``fp32``.
        noise: spread of the new ids' rows around the mean of the known ones, in the known rows' own spread; our choice.
        vocabulary_multiple: the vocabulary is padded to a multiple of this.
        sequence_length: what the checkpoint's record says; training may differ.
    """

    model: str
    vocabulary: str
    precision: str = "source"
    noise: float = 0.02
    vocabulary_multiple: int = 128
    sequence_length: int = 8192

    def __post_init__(self) -> None:
        known = ("source", "fp32", "bf16")
        check_option(self.precision in known, "precision", self.precision, f"choose one of {', '.join(known)}")
        check_option(self.noise >= 0, "noise", self.noise, "give 0 (rows are the very mean) or more")


def run(config: ImportHfConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/checkpoint`` (weights only, step 0) and ``<out>/model.yaml``."""
    from omegaconf import OmegaConf

    from .data.vocabulary import Vocabulary
    from .huggingface.families import model_config
    from .huggingface.mappings import IDS, rows
    from .huggingface.streamed_checkpoint import write_checkpoint
    from .huggingface.weights import HuggingFaceWeights
    from .training.checkpoint import CheckpointRecord
    from .training.parallel import ParallelConfig
    from .training.processes import open_processes

    if world_size() > 1:
        raise UserError("lm.import_hf", found=f"{world_size()} processes", remedy="run it as one process")
    source, parallel = Path(config.model), ParallelConfig()
    content = read_json(source / "config.json")
    shape = model_config(content, vocabulary_multiple=config.vocabulary_multiple, subject=str(source / "config.json"))
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    num_known = check_grown_from(Path(config.vocabulary), source)
    num_rows = vocabulary.padded_size(shape.vocabulary_multiple)
    table = {row.core: row for row in rows(shape)}
    weights = HuggingFaceWeights(source)
    weights.check_names({name for row in table.values() for name in row.theirs})
    record = CheckpointRecord(
        step=0,
        model=shape,
        vocabulary=vocabulary.fingerprint,
        vocabulary_size=num_rows,
        sequence_length=config.sequence_length,
        parallel=parallel,
        precision=source_precision(weights) if config.precision == "source" else config.precision,
    )
    with run.progress(len(table), "matrices", unit="matrix") as bar, open_processes(parallel):

        def matrix(name: str) -> Tensor:
            bar.update()
            row = table[name]
            if name in IDS:
                return grown_ids(weights, row.theirs[0], shape, num_known, num_rows, config)
            return row.to_core(weights.read, shape)

        write_checkpoint(run.folder / "checkpoint", record, list(table), matrix)
    write_text(run.folder / "model.yaml", OmegaConf.to_yaml(OmegaConf.create({"model": asdict(shape)})))
    run.say(f"shape for lm.train: --config {run.folder / 'model.yaml'}")
    return {
        "parameters": shape.num_parameters(num_rows),
        "new_ids": vocabulary.size - num_known,
        "precision": record.precision,
    }


def source_precision(weights: HuggingFaceWeights) -> str:
    """``bf16`` for a model saved in it, else ``fp32``."""
    import torch

    return "bf16" if weights.dtype("model.embed_tokens.weight") == torch.bfloat16 else "fp32"


def grown_ids(
    weights: HuggingFaceWeights, name: str, shape: LmModelConfig, num_known: int, num_rows: int, config: ImportHfConfig
) -> Tensor:
    """An embedding or output layer (num_rows, D) with rows for the new ids.

    Raises:
        UserError: fewer rows in the model's files than its tokenizer has ids.
    """
    from .huggingface.mappings import grown

    num_theirs, width = weights.shape(name)
    if num_theirs < num_known or width != shape.hidden:
        found = f"{name} of {num_theirs} x {width} for a tokenizer of {num_known} ids and hidden_size {shape.hidden}"
        raise UserError(str(weights.folder), found=found, remedy="give the tokenizer and config.json of this model")
    return grown(
        lambda start, stop: weights.read_rows(name, start, stop),
        width,
        num_known=num_known,
        num_rows=num_rows,
        noise=config.noise,
        seed=config.seed,
    )


def check_grown_from(vocabulary: Path, folder: Path) -> int:
    """How many ids the model's own tokenizer has; they must be the vocabulary's first ones.

    Raises:
        UserError: no tokenizer there, or the vocabulary was made from another one.
    """
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    if not file.is_file():
        raise UserError(str(file), found="no such file", remedy="give the model's folder with its fast tokenizer")
    base: dict[str, int] = Tokenizer.from_file(str(file)).get_vocab(with_added_tokens=True)
    ours: dict[str, int] = Tokenizer.from_file(str(vocabulary / "tokenizer.json")).get_vocab(with_added_tokens=True)
    wrong = next((token for token, id in base.items() if ours.get(token) != id), None)
    if wrong is not None:
        found = f"token {wrong!r} is id {base[wrong]} there and {ours.get(wrong)} in the vocabulary"
        raise UserError(str(file), found=found, remedy=f"grow the vocabulary from it: lm.vocabulary base={folder}")
    return max(base.values()) + 1


STAGE = Stage(
    name="lm.import_hf",
    config=ImportHfConfig,
    run=run,
    summary="Turn a Hugging Face model into a checkpoint to begin training with, its vocabulary grown by speech.",
    inputs=lambda config: [config.model, config.vocabulary],
    example="model=GLM vocabulary=runs/vocabulary/vocabulary out=runs/base",
)

if __name__ == "__main__":
    STAGE.exit()
