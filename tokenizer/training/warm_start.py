"""Initial weights from elsewhere: an artefact of ours, a NeMo FastConformer, a Whisper, the GLM-4-Voice tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch

from runtime.errors import UserError
from tokenizer.model import SpeechTokenizer


def warm_start(tokenizer: SpeechTokenizer, source: str) -> str:
    """Take weights from ``source`` into ``tokenizer``; returns one sentence that says what was taken.

    Args:
        tokenizer: its backbone says what a source other than an artefact folder is.
        source: an artefact folder of ``tokenizer.train`` (halves, and the codebook if it is of the same kind and size);
            a ``.nemo`` file or a name of NeMo's (fastconformer); a folder or hub name of a Hugging Face Whisper, or of
            the released GLM-4-Voice tokenizer (whisper).

    Raises:
        UserError: nothing there, or sizes that differ.
    """
    with torch.no_grad():
        if (Path(source) / "model.safetensors").is_file() and (Path(source) / "labels.json").is_file():
            return warm_start_from_artefact(tokenizer, source)
        if tokenizer.config.backbone == "whisper":
            from tokenizer.backbones.whisper_weights import adopt_whisper

            return f"from {source}: {', '.join(adopt_whisper(tokenizer, source))}"
        from tokenizer.backbones.fastconformer import FastConformerBack, FastConformerFront
        from tokenizer.backbones.fastconformer_weights import adopt_nemo

        left = adopt_nemo(cast(FastConformerFront, tokenizer.front), cast(FastConformerBack, tokenizer.back), source)
        return f"from {source}: both halves" + (f", but for {', '.join(left)}" if left else "")


def warm_start_from_artefact(tokenizer: SpeechTokenizer, folder: str) -> str:
    """Both halves of another tokenizer of ours, and its codebook if it fits."""
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
