"""Export of a checkpoint's speech input as a folder next to the language model (`lm.data.hearing_folder`).

`lm.inference.listening_model` reads it. The vectors go to any engine that takes embeddings in place of ids:
``inputs_embeds`` of transformers, prompt embeddings of vLLM.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lm.data.hearing_folder import (
    CONNECTOR_FILE,
    ENCODER_FILE,
    ENCODER_NAME,
    HEARING_FOLDER,
    RECORD_FILE,
)
from lm.training.checkpoint import CheckpointRecord
from lm.training.speech_config import SpeechRecord
from lm.training.speech_input import CONNECTOR_PREFIX, ENCODER_PREFIX
from runtime.artefact import artefact_folder, atomic_folder, write_json
from runtime.errors import UserError
from runtime.stage import Run
from tokenizer.hearing.load import load_encoder

from .streamed_checkpoint import CheckpointTensors


def export_speech(path: Path, record: CheckpointRecord, run: Run) -> dict[str, Any]:
    """Write ``<out>/hearing`` of a checkpoint that reads speech as vectors (process groups must be open); metrics.

    Raises:
        UserError: the encoder at its path is another than that of the training.
    """
    speech = record.speech
    assert speech is not None
    stored = CheckpointTensors(path, record)
    connector = named(stored.below(CONNECTOR_PREFIX), CONNECTOR_PREFIX)
    with atomic_folder(run.folder / HEARING_FOLDER) as folder:
        save_file({name: tensor.float() for name, tensor in connector.items()}, folder / CONNECTOR_FILE)
        if speech.holds_encoder:
            save_file(named(stored.below(ENCODER_PREFIX), ENCODER_PREFIX), folder / ENCODER_FILE)
        has_encoder = copy_encoder(speech, folder, run)
        write_json(folder / RECORD_FILE, {**asdict(speech), "source": ENCODER_NAME if has_encoder else ""})
    return {"connector_parameters": sum(tensor.numel() for tensor in connector.values()), "encoder": has_encoder}


def named(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors by their names within a part."""
    return {name.removeprefix(prefix): tensor.contiguous() for name, tensor in tensors.items()}


def copy_encoder(speech: SpeechRecord, folder: Path, run: Run) -> bool:
    """Copy the encoder as it was loaded in training; whether it was found.

    Raises:
        UserError: it is another one now.
    """
    source = artefact_folder(speech.source) if speech.source else None
    if source is None or not source.exists():
        where = f"{source} is not there" if source else "the corpora do not say where it is"
        run.say(f"hearing/ holds no encoder ({where}): the model takes its vectors, but no sound")
        return False
    found = load_encoder(source, speech.layer).fingerprint
    if found != speech.encoder:
        reason = f"encoder {found}, where the checkpoint was trained with {speech.encoder}"
        raise UserError(str(source), found=reason, remedy="put back the encoder of the training, or move it away")
    if source.is_dir():
        shutil.copytree(source, folder / ENCODER_NAME)
    else:
        # A NeMo checkpoint is known by its ending.
        (folder / ENCODER_NAME).mkdir()
        shutil.copy2(source, folder / ENCODER_NAME / source.name)
    return True
