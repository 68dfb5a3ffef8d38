"""Turn a Hugging Face model into a checkpoint to begin training with, its vocabulary grown by speech.

    python -m lm.vocabulary base=MODEL tokens=runs/tokens out=runs/vocabulary
    python -m lm.import_hf model=MODEL vocabulary=runs/vocabulary/vocabulary out=runs/base
    python -m lm.train --config runs/base/model.yaml init=runs/base vocabulary=runs/vocabulary/vocabulary ...

Llama, Qwen2, Qwen3 and GLM-4 models, read from their safetensors files. Rows of new ids are the mean of the known
ones. ``<out>/model.yaml`` holds the shape, for lm.train.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpus.artefact import read_json, write_text
from corpus.errors import UserError, check_option
from corpus.stage import Run, Stage, StageConfig

from .parallel import world_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(kw_only=True)
class ImportConfig(StageConfig):
    """Options of lm.import_hf.

    Attributes:
        model: folder of a Hugging Face model (config.json, safetensors, tokenizer.json).
        vocabulary: vocabulary folder that lm.vocabulary grew from that model's tokenizer.
        precision: of the checkpoint's weights: ``bf16`` or ``fp32``.
        vocabulary_multiple: the vocabulary is padded to a multiple of this.
        sequence_length: what the checkpoint's record says; training may differ.
    """

    model: str
    vocabulary: str
    precision: str = "fp32"
    vocabulary_multiple: int = 128
    sequence_length: int = 8192

    def __post_init__(self) -> None:
        check_option(self.precision in ("fp32", "bf16"), "precision", self.precision, "choose fp32 or bf16")


def run(config: ImportConfig, run: Run) -> dict[str, Any]:
    """Write ``<out>/checkpoint`` (weights only, step 0) and ``<out>/model.yaml``."""
    from omegaconf import OmegaConf

    from .checkpoint import CheckpointRecord, save_checkpoint
    from .families import model_config
    from .hf_mapping import from_huggingface
    from .model import build_model, transformer_config
    from .parallel import ParallelConfig
    from .processes import open_processes
    from .vocabulary import Vocabulary

    if world_size() > 1:
        raise UserError("lm.import_hf", found=f"{world_size()} processes", remedy="run it as one process")
    source, parallel = Path(config.model), ParallelConfig()
    content = read_json(source / "config.json")
    shape = model_config(content, vocabulary_multiple=config.vocabulary_multiple, subject=str(source / "config.json"))
    vocabulary = Vocabulary.from_pretrained(config.vocabulary)
    num_known = check_grown_from(Path(config.vocabulary), source)
    num_rows = vocabulary.padded_size(shape.vocabulary_multiple)
    weights = from_huggingface(read_weights(source), shape, num_known=num_known, num_rows=num_rows)
    record = CheckpointRecord(
        step=0,
        model=shape,
        vocabulary=vocabulary.fingerprint,
        vocabulary_size=num_rows,
        sequence_length=config.sequence_length,
        parallel=parallel,
        precision=config.precision,
    )
    with open_processes(parallel) as processes:
        core = transformer_config(shape, parallel, precision=config.precision, uses_engine=False)
        chunks = build_model(
            shape, core, vocabulary_size=num_rows, sequence_length=config.sequence_length, seed=config.seed
        )
        inner = getattr(chunks[0], "module", chunks[0])
        missing, unexpected = inner.load_state_dict(weights, strict=False)
        assert not unexpected and all(name.endswith("_extra_state") for name in missing), (missing, unexpected)
        save_checkpoint(run.folder / "checkpoint", record, chunks, None, processes, keep=1)
    write_text(run.folder / "model.yaml", OmegaConf.to_yaml(OmegaConf.create({"model": asdict(shape)})))
    run.say(f"shape for lm.train: --config {run.folder / 'model.yaml'}")
    return {"parameters": shape.num_parameters(num_rows), "new_ids": vocabulary.size - num_known}


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model's safetensors files.

    Raises:
        UserError: there are none.
    """
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        remedy = "give a model saved as safetensors (save_pretrained makes them)"
        raise UserError(str(folder), found="no *.safetensors", remedy=remedy)
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


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
    config=ImportConfig,
    run=run,
    summary="Turn a Hugging Face model into a checkpoint to begin training with, its vocabulary grown by speech.",
    inputs=lambda config: [config.model, config.vocabulary],
    example="model=GLM vocabulary=runs/vocabulary/vocabulary out=runs/base",
)

if __name__ == "__main__":
    STAGE.exit()
