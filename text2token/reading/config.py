"""Options of ``text2token.aloud``."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.room_simulation import RoomConfig
from corpus.world.voices import ENGINES
from runtime.chat_endpoint import RequestConfig
from runtime.config import Options, option
from runtime.errors import check_option
from runtime.stage import StageConfig
from text2token.gate import GateConfig
from text2token.spans.policies import SpanConfig
from text2token.speech_generation import SpeechGenerationConfig
from text2token.synthesis.config import SpokenTextsConfig

READERS = ("voices", "endpoint", "model")


@dataclass(kw_only=True)
class VoicesConfig(Options):
    """Options of the built-in synthesisers (reader=voices).

    Attributes:
        engines: espeak, or auto for flite's voices besides where its library is installed.
        count: number of voices (0 = all; those that corpus.build holds out are never used).
    """

    engines: str = option("auto", one_of=ENGINES)
    count: int = option(0, at_least=0)


@dataclass(kw_only=True)
class SpeechEndpointConfig(Options):
    """Options of a text-to-speech endpoint (reader=endpoint): ``POST <url>/audio/speech``, OpenAI's route.

    Attributes:
        url: up to the ``/v1``, e.g. http://localhost:8000/v1, where ``speechweave serve`` answers.
        model: that the endpoint knows.
        voices: its names of them, e.g. [alloy, echo].
        format: of the audio asked for: flac or wav.
    """

    url: str = ""
    model: str = "speechweave"
    voices: list[str] = field(default_factory=lambda: ["alloy"])
    format: str = option("wav", one_of=("flac", "wav"))


@dataclass(kw_only=True)
class ModelReaderConfig(SpeechGenerationConfig):
    """Options of text2token and a speech decoder (reader=model).

    Attributes:
        model: the text-to-token model, a folder that lm.export wrote.
        decoder: run folder of decoder.train, or its artefact.
    """

    model: str = ""
    decoder: str = ""


@dataclass(kw_only=True)
class AloudConfig(SpokenTextsConfig, StageConfig):
    """Options of text2token.aloud.

    Attributes:
        spans: which words become speech. InSerter's best: policy=word ratio=0.3 (the default here), or policy=sentence
            ratio=0.4.
        speakers: voice -> share of the spans, e.g. speakers.flite-slt=2 (default: all voices alike).
        reader: of the spans: voices (the built-in synthesisers), endpoint (a text-to-speech server), or model
            (text2token and a decoder).
        voices: options of reader=voices.
        endpoint: options of reader=endpoint.
        requests: to the endpoint, several at once for a unit of work.
        model: options of reader=model.
        gate: bounds on the length of a span's audio, counted in tokens of 80 ms (min_distinct_share has no part).
        max_seconds: longest audio of a span; a longer one stays text.
        room: record spans in a simulated room (room.share of them).
        unit_documents: documents of a unit of work, whose audio is one tar.
    """

    spans: SpanConfig = field(default_factory=lambda: SpanConfig(policy="word"))
    reader: str = option("voices", one_of=READERS)
    voices: VoicesConfig = field(default_factory=VoicesConfig)
    endpoint: SpeechEndpointConfig = field(default_factory=SpeechEndpointConfig)
    requests: RequestConfig = field(default_factory=RequestConfig)
    model: ModelReaderConfig = field(default_factory=ModelReaderConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    max_seconds: float = option(30.0, above=0)
    room: RoomConfig = field(default_factory=RoomConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reader == "endpoint":
            check_option(
                bool(self.endpoint.url), "endpoint.url", "", "give the server's, e.g. http://localhost:8000/v1"
            )
            check_option(bool(self.endpoint.voices), "endpoint.voices", [], "name at least one")
        if self.reader == "model":
            for name in ("model", "decoder"):
                check_option(bool(getattr(self.model, name)), f"model.{name}", "", "reader=model needs it")

    @property
    def model_inputs(self) -> list[str]:
        """Folders of models that are read."""
        return [self.model.model, self.model.decoder] if self.reader == "model" else []
