"""Options of corpora whose speech is read as vectors: the encoder that its positions are counted for."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option
from runtime.errors import check_option

TOKENS, VECTORS = SPEECH_INPUTS = ("tokens", "vectors")  # ways in which a model reads speech


@dataclass(kw_only=True)
class VectorsConfig(Options):
    """Options of speech read as vectors.

    Attributes:
        encoder: the speech encoder, run in training: an artefact of tokenizer.train, a NeMo checkpoint, or a folder of
            Whisper's.
        layer: of the encoder ("": its kind's first).
        features: output folder of tokenizer.features, whose stored vectors the clips are, in place of ``encoder``.
        stride: vectors that the model's connector makes one position of (``speech.connector.stride`` of lm.train).
        max_seconds: longest clip; a longer one is a bad record.
    """

    encoder: str = ""
    layer: str = ""
    features: str = ""
    stride: int = option(1, at_least=1)
    max_seconds: float = option(30.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_one = not (self.encoder and self.features)
        check_option(is_one, "vectors.features", self.features, "give it or vectors.encoder, not both")
        check_option(bool(self.encoder) or not self.layer, "vectors.layer", self.layer, "it has no effect: no encoder")

    @property
    def is_given(self) -> bool:
        """Whether an encoder or features are named."""
        return bool(self.encoder or self.features)

    @property
    def inputs(self) -> list[str]:
        """The folders that are read."""
        return [path for path in (self.encoder, self.features) if path]
