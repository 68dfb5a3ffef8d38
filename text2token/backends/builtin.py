"""The built-in generation as a backend; bit-exact whatever the batch size."""

from __future__ import annotations

from lm.data.vocabulary import Vocabulary
from lm.inference.generation import Generator
from text2token.speech_generation import SpeechGenerationConfig


def open_generator(config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> Generator:
    """The generator of ``config.model`` on a torch device."""
    return Generator.from_pretrained(
        config.model,
        vocabulary=vocabulary,
        batch_size=config.batch_size,
        dtype=config.dtype,
        device=device,
        has_graphs=config.cuda_graphs,
    )
