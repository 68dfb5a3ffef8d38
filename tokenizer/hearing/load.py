"""Loading of a speech encoder from any source of `tokenizer.hearing.table`."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from runtime.errors import UserError

from .base import SpeechEncoder
from .table import ENCODERS, EncoderKind


def load_encoder(source: Path | str, layer: str = "", device: str = "cpu") -> SpeechEncoder:
    """The speech encoder that ``source`` holds, in evaluation mode.

    Args:
        source: a path of one of the kinds of `tokenizer.hearing.table.ENCODERS`.
        layer: whose vectors it gives; "": the kind's first.
        device: to load it to.

    Raises:
        UserError: no such path, no kind that it is of, or no such layer.
    """
    path = Path(source)
    kind = kind_of(path)
    if layer and layer not in kind.layers:
        found = f"layer {layer} of {kind.title}"
        raise UserError(str(path), found=found, remedy=f"its layers are {', '.join(kind.layers)}")
    encoder = pkgutil.resolve_name(kind.load)(path, layer or kind.layers[0])
    assert isinstance(encoder, SpeechEncoder)
    return encoder.to(device).eval()


def kind_of(path: Path) -> EncoderKind:
    """The kind of source that a path is."""
    titles = ", or ".join(kind.title for kind in ENCODERS.values())
    if not path.exists():
        raise UserError(str(path), found="no such file or folder", remedy=f"give {titles}")
    for kind in ENCODERS.values():
        if kind.is_source(path):
            return kind
    raise UserError(str(path), found="no speech encoder", remedy=f"give {titles}")
