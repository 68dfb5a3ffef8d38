"""Warm start: initial weights from an artefact of ours, or from a checkpoint that the backbone has a mapping for."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from runtime.errors import UserError
from tokenizer.backbones.base import warm_start_of
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.ema import EmaQuantiser


def warm_start(tokenizer: SpeechTokenizer, source: str) -> str:
    """Load weights from ``source`` into ``tokenizer``; returns one sentence that names what was loaded.

    Args:
        tokenizer: its backbone decides what a source other than an artefact folder is.
        source: an artefact folder of ``tokenizer.train`` (both encoders, and the codebook if it is of the same kind and
            size); a ``.nemo`` file or a name of NeMo's (fastconformer); a folder or hub name of a Hugging Face Whisper,
            or of the released GLM-4-Voice tokenizer (whisper).

    Raises:
        UserError: nothing there, or sizes that differ.
    """
    with torch.no_grad():
        if (Path(source) / "model.safetensors").is_file() and (Path(source) / "labels.json").is_file():
            return warm_start_from_artefact(tokenizer, source)
        load = warm_start_of(tokenizer.config.backbone)
        loaded = load(tokenizer.front, tokenizer.back, tokenizer.decoder, source)
        if loaded.codebook is None:
            return f"from {source}: {loaded.summary}"
        load_codebook(tokenizer, loaded.codebook, source)
        return f"from {source}: {loaded.summary}, codebook"


def load_codebook(tokenizer: SpeechTokenizer, codebook_KD: Tensor, source: str) -> None:
    """Start the quantiser from the codebook of a checkpoint."""
    quantiser = tokenizer.quantiser
    if not isinstance(quantiser, EmaQuantiser):
        raise UserError("option vq.kind", found=tokenizer.vq.kind, remedy="the checkpoint's codebook needs vq")
    if codebook_KD.shape != quantiser.codebook.shape:
        found = f"a codebook of shape {tuple(codebook_KD.shape)}, but ours has {tuple(quantiser.codebook.shape)}"
        raise UserError(source, found=found, remedy="set vq.codebook_size and model.width to the checkpoint's")
    quantiser.load_codebook(codebook_KD)


def warm_start_from_artefact(tokenizer: SpeechTokenizer, folder: str) -> str:
    """Load both encoders of another tokenizer of ours, and its codebook if it fits."""
    other = SpeechTokenizer.from_pretrained(folder)
    try:
        tokenizer.front.load_state_dict(other.front.state_dict())
        tokenizer.back.load_state_dict(other.back.state_dict())
    except RuntimeError as error:
        found = f"halves of other sizes ({str(error).splitlines()[0]})"
        raise UserError(folder, found=found, remedy="set the options model.* to that tokenizer's") from error
    has_same_codes = (other.vq.kind, other.vq.fsq_levels) == (tokenizer.vq.kind, tokenizer.vq.fsq_levels)
    if not (has_same_codes and other.has_codebook and other.codebook_size == tokenizer.codebook_size):
        return f"from {folder}: both halves"
    tokenizer.quantiser.load_state_dict(other.quantiser.state_dict())
    return f"from {folder}: both halves and the codebook"
