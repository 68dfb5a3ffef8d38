"""Options of evaluation.fact_set."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class FactSetConfig(StageConfig):
    """Options of evaluation.fact_set.

    Attributes:
        facts: output folder of corpus.facts.
        tokenizer: artefact folder of the speech tokenizer.
        voice: name of the voice that speaks (empty: the answer voice).
        audio: keep the sounds, as FLAC.
        threads: CPU threads of the tokenizer.
    """

    facts: str
    tokenizer: str
    voice: str = ""
    audio: bool = False
    threads: int = option(1, at_least=1)
