"""Speech generation in bulk jobs: shared options, the speakers and their shares, the text as the model gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from corpus.text.normalisation import normalise
from corpus.text.spoken_form import NORMALISERS, spoken_form
from lm.data.vocabulary import Vocabulary
from runtime.bulk.launch import BulkConfig
from runtime.config import option
from runtime.errors import UserError, check_option

from .backends.table import BACKENDS
from .speech_generation import SpeechGenerationConfig


@dataclass(kw_only=True)
class BulkGenerationConfig(SpeechGenerationConfig):
    """Options of the stages that generate speech in bulk.

    Attributes:
        backend: of the generation: builtin; vllm or sglang on GPUs (each installed by yourself; not bit-exact).
        normaliser: how numbers, dates, amounts, units and abbreviations are written out before: builtin (English and
            Mandarin), nemo (NeMo's text processing, installed by yourself) or none.
        retries: how often a text whose speech fails the gate is generated again, by another seed.
        max_rejected_share: largest share of what may fail the gate in all attempts.
        max_bad_share: largest share of bad records.
        processes: worker processes; changes speed only.
        devices: of the workers, which take them in turn: [cpu], [cuda:0, cuda:1].
        bulk: where the workers run, and how many units may fail.
    """

    backend: str = option("builtin", one_of=BACKENDS)
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

    def model_text(self, text: str) -> str:
        """A text as the model gets it: written out, and normalised if the model was trained on normalised texts.

        What the normaliser cannot read is spelt out; spans of texts keep away from it (`SpokenForm.unread`).
        """
        return self.normal_form(self.written_out(text))

    def written_out(self, text: str) -> str:
        """A text in words; to be cut only after."""
        return spoken_form(text, self.normaliser).spelt_out

    def normal_form(self, text: str) -> str:
        """A text in words, normalised if the model was trained on normalised texts."""
        return normalise(text) if self.normalises else text


class SpeakerShares(NamedTuple):
    """Speakers and their shares, which sum to 1."""

    speakers: tuple[str, ...]
    shares: tuple[float, ...]


def speaker_shares(weights: Mapping[str, float], vocabulary: Vocabulary) -> SpeakerShares:
    """The speakers by their weights; without weights, all of the vocabulary in equal shares.

    Raises:
        UserError: no speaker, one that the vocabulary does not know, or a weight that is not a positive number.
    """
    chosen = weights or dict.fromkeys(vocabulary.speakers, 1.0)
    if not chosen:
        found, remedy = "the vocabulary has no speaker", "make it from speech whose manifest names speakers"
        raise UserError("option speakers", found=found, remedy=remedy)
    for name, weight in chosen.items():
        vocabulary.speaker_id(name)
        if not 0 < weight < float("inf"):
            found = f"a share of {weight}"
            raise UserError(f"option speakers.{name}", found=found, remedy="give a positive number")
    total = sum(chosen.values())
    return SpeakerShares(tuple(chosen), tuple(weight / total for weight in chosen.values()))
