"""Options of decoder.resynthesise, free of torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig

from .config import SOLVERS, VOCODERS


@dataclass(kw_only=True)
class ResynthesiseConfig(StageConfig):
    """Options of decoder.resynthesise.

    Attributes:
        out: run folder; manifest.jsonl and audio/ are written there.
        seed: unused: decoding draws its noise from a fixed seed.
        tokens: a Parquet file of tokenised speech, or a folder of them.
        decoder: run folder of decoder.train, or its artefact.
        voices: only utterances of these voices; by default all voices of the decoder.
        speaker: the voice to speak all with, a tag or the path of a reference clip; null keeps each utterance's own.
        limit: largest number of utterances (the first); 0 takes all.
        vocoder: model (the decoder's own), griffin_lim, or the run folder of another decoder.train_vocoder.
        steps: of the flow's solver; 0 speaks the regressed mean; null is the decoder's default.
        guidance: classifier-free guidance; null is the decoder's default.
        solver: euler or midpoint; null is the decoder's default.
        batch: utterances decoded at once.
        threads: CPU threads.
    """

    tokens: str
    decoder: str
    voices: list[str] = field(default_factory=list)
    speaker: str | None = None
    limit: int = option(0, at_least=0)
    vocoder: str = "model"
    steps: int | None = option(None, at_least=0)
    guidance: float | None = option(None, at_least=0)
    solver: str | None = option(None, one_of=SOLVERS)
    batch: int = option(16, at_least=1)
    threads: int = option(1, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_known = self.vocoder in VOCODERS or Path(self.vocoder).is_dir()
        remedy = "choose model, griffin_lim, or the run folder of decoder.train_vocoder"
        check_option(is_known, "vocoder", self.vocoder, remedy)
