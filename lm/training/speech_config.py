"""The options of speech input: connector, the parts that train, and their learning rates; free of torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.config import Options, option
from runtime.errors import UserError, check_option

CONNECTORS = ("linear", "mlp", "conv", "stack")
STRIDED = ("conv", "stack")  # connectors that make one position of several vectors
PARTS = ("connector", "encoder", "lm")
SOURCES = ("clips", "codes")
CROSS_ENTROPY, DIVERGENCE = SPEECH_LOSSES = ("ce", "kl")


@dataclass(kw_only=True)
class ConnectorConfig(Options):
    """The connector: vectors of the encoder to vectors of the language model.

    Attributes:
        kind: ``linear`` (one matrix, Qwen2-Audio's), ``mlp`` (norm, two matrices and GELU), ``conv`` (norm, a causal
            convolution over ``2 stride + 1`` vectors, GELU, a matrix) or ``stack`` (norm, ``stride`` vectors side by
            side into an mlp).
        stride: vectors that become one position (conv, stack); that of the corpora, where they have clips.
        width: inner width; 0: the language model's.
        dropout: on its output; embeddings have the model's own.
    """

    kind: str = option("mlp", one_of=CONNECTORS)
    stride: int = option(1, at_least=1)
    width: int = option(0, at_least=0)
    dropout: float = option(0.0, at_least=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        only = f"only {' and '.join(STRIDED)} make one position of several vectors: choose one, or stride=1"
        check_option(self.stride == 1 or self.kind in STRIDED, "speech.connector.stride", self.stride, only)


@dataclass(kw_only=True)
class SpeechConfig(Options):
    """Speech read as vectors: its source, encoder, connector and training.

    Attributes:
        source: ``clips``: corpora with a side table of clips (``speech.json``) have recordings or stored vectors, and
            those without one are text. ``codes``: the corpora's speech tokens, read as vectors of their tokenizer.
        encoder: the speech encoder's artefact, for recordings ("": the corpora's own) and codes. Stored vectors need
            none.
        layer: of the encoder ("": the corpora's own).
        train: the parts that train: ``connector``, ``encoder`` (of recordings), ``lm``. A trained encoder runs without
            dropout and with its statistics of normalisation as they are.
        learning_rate: the connector's peak; it follows the schedule of train.learning_rate. 0: the same.
        encoder_learning_rate: the encoder's peak; 0: train.learning_rate.
        loss: ``ce``: cross-entropy of the answers (MTBI). ``kl``: divergence from the distributions of the same frozen
            model reading the transcripts (Ultravox), over the answers' tokens; of corpora that hold them
            (imitation.prepare). The curve's ``loss`` is the cross-entropy in both.
        temperature: of both distributions of ``kl``; 2 is Ultravox's.
        max_unreadable_share: share of the clips read so far that may be unreadable (one always may, where it is above
            0): their documents are left out of their samples, counted and named in the log. 0: the first ends the run.
    """

    source: str = option("clips", one_of=SOURCES)
    encoder: str = ""
    layer: str = ""
    connector: ConnectorConfig = field(default_factory=ConnectorConfig)
    train: list[str] = option(["connector", "lm"], one_of=PARTS)
    learning_rate: float = option(0.0, at_least=0)
    encoder_learning_rate: float = option(0.0, at_least=0)
    loss: str = option(CROSS_ENTROPY, one_of=SPEECH_LOSSES, is_later=True)
    temperature: float = option(2.0, above=0, is_later=True)
    max_unreadable_share: float = option(0.0, at_least=0, below=1, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        some = f"name at least one of {', '.join(PARTS)}"
        check_option(bool(self.train), "speech.train", self.train, some)
        is_codes = self.source == "codes"
        needed = "give the artefact of the tokenizer that made the corpora's codes"
        check_option(not is_codes or bool(self.encoder), "speech.encoder", self.encoder, needed)
        of_audio = "codes are looked up, not heard: train the encoder on recordings"
        check_option(not is_codes or "encoder" not in self.train, "speech.train", self.train, of_audio)
        is_imitated = self.loss == DIVERGENCE
        frozen = "its target is the model as it reads, which must stay: leave lm out of speech.train, or loss=ce"
        check_option(not is_imitated or "lm" not in self.train, "speech.loss", self.loss, frozen)
        read = "codes have no transcripts beside them: set speech.source=clips, or loss=ce"
        check_option(not is_imitated or not is_codes, "speech.loss", self.loss, read)
        each = "each code of the corpora is one position: set it to 1"
        check_option(not is_codes or self.connector.stride == 1, "speech.connector.stride", self.connector.stride, each)


@dataclass(frozen=True, kw_only=True)
class SpeechRecord:
    """Speech input of a checkpoint: what its connector was trained on, and its shape.

    Attributes:
        kind: ``audio``, ``features`` or ``codes``.
        encoder: fingerprint of the encoder, as it was loaded.
        source: the encoder's artefact.
        layer: of the encoder.
        positions_per_second: the encoder's vectors a second.
        width: E, of a vector.
        connector: the connector's shape.
        holds_encoder: whether the checkpoint holds the encoder's weights (it was trained).
    """

    kind: str
    encoder: str
    source: str
    layer: str
    positions_per_second: float
    width: int
    connector: ConnectorConfig
    holds_encoder: bool = False

    @classmethod
    def from_plain(cls, content: dict[str, Any] | None) -> SpeechRecord | None:
        """From ``checkpoint.json``; None of a model of text and tokens."""
        if content is None:
            return None
        return cls(**{**content, "connector": ConnectorConfig(**content["connector"])})

    def check_shape(self, wanted: SpeechRecord, path: object) -> None:
        """Raise a `UserError` where a checkpoint's speech input is not of the ``wanted`` shape and encoder."""
        saved, asked = self._shape(), wanted._shape()
        differing = [
            f"speech {name}={saved[name]} (this run: {asked[name]})" for name in saved if saved[name] != asked[name]
        ]
        if differing:
            remedy = "give this run that connector and encoder, or begin from the text model"
            raise UserError(str(path), found=f"another speech input: {', '.join(differing)}", remedy=remedy)
        if self.holds_encoder and wanted.kind == "features":
            remedy = "train on the recordings themselves, or begin from a checkpoint whose encoder was frozen"
            found = "a checkpoint whose encoder was trained; stored vectors are those of the encoder before"
            raise UserError(str(path), found=found, remedy=remedy)

    def _shape(self) -> dict[str, Any]:
        shape = {f"connector.{name}": value for name, value in asdict(self.connector).items() if name != "dropout"}
        return shape | {"width": self.width, "encoder": self.encoder}
