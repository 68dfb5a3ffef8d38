"""Speech generation in bulk jobs: shared options, the speakers of a draw, the text as the model gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from corpus.text.normalisation import normalise
from corpus.text.spoken_form import NORMALISERS, spoken_form
from lm.data.vocabulary import Vocabulary
from runtime.bulk.launch import BulkConfig
from runtime.config import Options, option
from runtime.errors import check_option

from .backends.table import BACKENDS
from .speaker_shares import DRAWS, SpeakerShares, speaker_shares
from .speech_generation import SpeechGenerationConfig


@dataclass(kw_only=True)
class BulkSpeechConfig(Options):
    """Options of the stages that speak texts in bulk, in whatever way.

    Attributes:
        normaliser: how numbers, dates, amounts, units and abbreviations are written out before: builtin (English and
            Mandarin), nemo (NeMo's text processing, installed by yourself) or none.
        retries: how often a text whose speech fails the gate is generated again, by another seed.
        max_rejected_share: largest share of what may fail the gate in all attempts.
        max_bad_share: largest share of bad records.
        processes: worker processes; changes speed only.
        devices: of the workers, which take them in turn: [cpu], [cuda:0, cuda:1].
        bulk: where the workers run, and how many units may fail.
    """

    normaliser: str = option("builtin", one_of=NORMALISERS)
    retries: int = option(2, at_least=0)
    max_rejected_share: float = option(0.5, at_least=0, at_most=1)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    processes: int = option(1, at_least=1)
    devices: list[str] = field(default_factory=lambda: ["cpu"])
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.devices), "devices", self.devices, "give at least one, e.g. [cpu]")

    def device(self, worker: int) -> str:
        """The device of a worker, by its number."""
        return self.devices[worker % len(self.devices)]

    def written_out(self, text: str) -> str:
        """A text in words; to be cut only after."""
        return spoken_form(text, self.normaliser).spelt_out


@dataclass(kw_only=True)
class BulkGenerationConfig(BulkSpeechConfig, SpeechGenerationConfig):
    """Options of the stages that generate speech in bulk.

    Attributes:
        backend: of the generation: builtin; vllm or sglang on GPUs (each installed by yourself; not bit-exact); voices:
            the built-in corpus's own voices, encoded by the speech tokenizer, for comparison (of ``model`` only the
            vocabulary is read).
        voice_corpus: output folder of corpus.build whose voices speak (backend=voices).
        voice_tokenizer: artefact folder of the speech tokenizer (backend=voices).
        speaker_draw: shares of the speakers where none are given: training (in proportion to their speech in the
            model's training data, as its vocabulary knows it) or alike.
        speaker_floor: smallest share of a speaker.
        speaker_cap: largest share of a speaker.
    """

    backend: str = option("builtin", one_of=BACKENDS)
    voice_corpus: str = option("", is_later=True)
    voice_tokenizer: str = option("", is_later=True)
    speaker_draw: str = option("training", one_of=DRAWS, is_later=True)
    speaker_floor: float = option(0.0, at_least=0, at_most=1, is_later=True)
    speaker_cap: float = option(1.0, above=0, at_most=1, is_later=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("voice_corpus", "voice_tokenizer"):
            given, is_read = getattr(self, name), self.backend == "voices"
            check_option(bool(given) == is_read, name, given, "backend=voices needs it, no other backend reads it")

    def shares_of(self, weights: Mapping[str, float], vocabulary: Vocabulary) -> SpeakerShares:
        """The speakers of a draw by given weights, or by ``speaker_draw`` where there are none."""
        bounds = {"floor": self.speaker_floor, "cap": self.speaker_cap}
        return speaker_shares(weights, vocabulary, draw=self.speaker_draw, **bounds)

    def model_text(self, text: str) -> str:
        """A text as the model gets it: written out, and normalised if the model was trained on normalised texts.

        What the normaliser cannot read is spelt out; spans of texts keep away from it (`SpokenForm.unread`).
        """
        return self.normal_form(self.written_out(text))

    def normal_form(self, text: str) -> str:
        """A text in words, normalised if the model was trained on normalised texts."""
        return normalise(text) if self.normalises else text
