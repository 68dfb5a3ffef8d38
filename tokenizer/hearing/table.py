"""Kinds of speech encoders: the one table that options and `tokenizer.hearing.load` read; free of torch.

A new kind is one module with a `SpeechEncoder` (`tokenizer.hearing.base`), and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


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


ENCODERS = {
    "tokenizer": EncoderKind(
        title="an artefact of tokenizer.train",
        is_source=is_tokenizer,
        layers=("back", "front"),
        load="tokenizer.hearing.tokenizer_encoder:load_tokenizer_encoder",
    ),
}
