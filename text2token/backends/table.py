"""Backends of speech generation: the one table that options and workers read; free of torch.

A new backend is one module, with a class or function that takes (config, device, vocabulary) and returns a
`text2token.speech_generation.SpeechBackend`, and one row here.
"""

from __future__ import annotations

import pkgutil

from lm.data.vocabulary import Vocabulary
from text2token.speech_generation import SpeechBackend, SpeechGenerationConfig

BACKENDS = {  # imported when opened: each needs torch, or a package that is not always installed
    "builtin": "text2token.backends.builtin:open_generator",
    "vllm": "text2token.backends.vllm_engine:VllmBackend",
    "voices": "text2token.backends.voices:VoiceBackend",
    "sglang": "text2token.backends.sglang_engine:SglangBackend",
}


def open_backend(name: str, config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> SpeechBackend:
    """The backend ``name``, one of `BACKENDS`, with the model of ``config`` on a torch device.

    Raises:
        UserError: the engine's package is not installed, or the engine does not start.
    """
    backend: SpeechBackend = pkgutil.resolve_name(BACKENDS[name])(config, device, vocabulary)
    return backend
