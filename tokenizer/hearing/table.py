"""Kinds of speech encoders: the one table that options and `tokenizer.hearing.load` read; free of torch.

A new kind is one module with a `SpeechEncoder` (`tokenizer.hearing.base`), and one row here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WHISPER_TYPES = ("whisper", "qwen2_audio_encoder")


@dataclass(frozen=True, kw_only=True)
class EncoderKind:
    """One kind of source that a speech encoder is made of.

    Attributes:
        title: of what ``source`` is.
        is_source: whether a path (which exists) is such a source.
        layers: names of the layers whose vectors can be read; the first is the default.
        load: its loader ``(source, layer) -> SpeechEncoder``, as ``module:name``, imported when needed.
    """

    title: str
    is_source: Callable[[Path], bool]
    layers: tuple[str, ...]
    load: str


def is_tokenizer(source: Path) -> bool:
    """Whether ``source`` is the artefact of ``tokenizer.train``, or its run folder."""
    return (source / "labels.json").is_file() or (source / "artefact" / "labels.json").is_file()


def is_whisper(source: Path) -> bool:
    """Whether ``source`` is a folder of transformers' Whisper, or of Qwen2-Audio's encoder."""
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("model_type") in WHISPER_TYPES


def is_nemo(source: Path) -> bool:
    """Whether ``source`` is a checkpoint file of NeMo."""
    return source.suffix == ".nemo" and source.is_file()


ENCODERS = {
    "tokenizer": EncoderKind(
        title="an artefact of tokenizer.train",
        is_source=is_tokenizer,
        layers=("back", "front"),
        load="tokenizer.hearing.tokenizer_encoder:load_tokenizer_encoder",
    ),
    "whisper": EncoderKind(
        title="a folder of transformers' Whisper",
        is_source=is_whisper,
        layers=("last", "pooled"),
        load="tokenizer.hearing.whisper_encoder:load_whisper_encoder",
    ),
    "nemo": EncoderKind(
        title="a .nemo file of a FastConformer",
        is_source=is_nemo,
        layers=("last",),
        load="tokenizer.hearing.fastconformer_encoder:load_fastconformer_encoder",
    ),
}
