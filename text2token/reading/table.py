"""The table of readers aloud; a new one is a module with a class that takes (config, device), a row here and a word
in `text2token.reading.config.READERS`.
"""

from __future__ import annotations

import pkgutil

from .base import SpanReader
from .config import AloudConfig

OPENED = {  # imported when opened: the model needs torch
    "voices": "text2token.reading.built_in:BuiltInReader",
    "endpoint": "text2token.reading.endpoint:EndpointReader",
    "model": "text2token.reading.model:ModelReader",
}


def open_span_reader(config: AloudConfig, device: str = "cpu") -> SpanReader:
    """The reader of the config.

    Raises:
        UserError: its model, voice or server is not there.
    """
    reader: SpanReader = pkgutil.resolve_name(OPENED[config.reader])(config, device)
    return reader
