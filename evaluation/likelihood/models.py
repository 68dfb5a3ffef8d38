"""The model of a run: an exported folder by the built-in generation or transformers, or a checkpoint by Megatron."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from lm.data.vocabulary import RECORD_FILE, Vocabulary
from lm.inference.generation import Generator
from lm.inference.hf_likelihood import TransformersLikelihood
from lm.inference.likelihood import LikelihoodModel
from runtime.artefact import artefact_folder, file_digest
from runtime.errors import UserError

from .config import BaseConfig
from .sequence_encoding import PretrainedText, TextCodec, VocabularyText


@dataclass(frozen=True, kw_only=True)
class BaseModel:
    """An open model.

    Attributes:
        model: scores rows of ids.
        text: its text side.
        vocabulary: None for a text model without speech tokens.
        backend: what runs it.
        name: of its folder.
        digest: of its files.
        wait: for the other processes that score with this one.
    """

    model: LikelihoodModel
    text: TextCodec
    vocabulary: Vocabulary | None
    backend: str
    name: str
    digest: str
    wait: Callable[[], None] = lambda: None


@contextlib.contextmanager
def open_base_model(config: BaseConfig) -> Iterator[BaseModel]:
    """The model, while the context is open.

    Raises:
        UserError: no model there, or one that the backend does not run.
    """
    torch.set_num_threads(config.threads)
    folder = artefact_folder(config.model, "model")
    is_exported = (folder / "config.json").is_file()
    if config.backend == "megatron" or (config.backend == "auto" and not is_exported):
        with _checkpoint(config) as base:
            yield base
        return
    if not is_exported:
        remedy = "give what lm.export wrote, or backend=megatron for a checkpoint"
        raise UserError(str(folder), found="no config.json of a model", remedy=remedy)
    model, backend = _exported(config, folder)
    vocabulary = model.vocabulary
    text: TextCodec = PretrainedText(folder) if vocabulary is None else VocabularyText(vocabulary)
    yield BaseModel(
        model=model,
        text=text,
        vocabulary=vocabulary,
        backend=backend,
        name=Path(config.model).name,
        digest=file_digest(folder),
    )


def _exported(config: BaseConfig, folder: Path) -> tuple[Generator | TransformersLikelihood, str]:
    if config.backend == "built_in" or (config.backend == "auto" and (folder / RECORD_FILE).is_file()):
        try:
            return Generator.from_pretrained(folder, dtype=config.dtype, device=config.device), "built_in"
        except UserError:  # a family that it does not run; whatever else is wrong, transformers says again
            if config.backend != "auto":
                raise
    return TransformersLikelihood.from_pretrained(folder, dtype=config.dtype, device=config.device), "transformers"


@contextlib.contextmanager
def _checkpoint(config: BaseConfig) -> Iterator[BaseModel]:
    from lm.inference.megatron_likelihood import open_megatron_likelihood

    if config.vocabulary is None:
        remedy = "give the vocabulary folder that the checkpoint was trained with"
        raise UserError("option vocabulary", found="not set, and the model is a checkpoint", remedy=remedy)
    with open_megatron_likelihood(config.model, config.vocabulary, config.parallel, dtype=config.dtype) as model:
        yield BaseModel(
            model=model,
            text=VocabularyText(model.vocabulary),
            vocabulary=model.vocabulary,
            backend="megatron",
            name=f"{Path(config.model).name}, {model.path.name}",
            digest=file_digest(model.path),
            wait=model.processes.barrier,
        )
