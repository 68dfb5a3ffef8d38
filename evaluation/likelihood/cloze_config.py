"""Options of evaluation.cloze_set."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class ClozeSetConfig(StageConfig):
    """Options of evaluation.cloze_set.

    Attributes:
        corpus: folder of corpus.build, whose texts and voices are taken.
        tokenizer: artefact folder of the speech tokenizer.
        pairs: their number, half of each part.
        audio: keep the sounds, as FLAC.
        threads: CPU threads of the tokenizer.
    """

    corpus: str
    tokenizer: str
    pairs: int = option(200, at_least=2)
    audio: bool = False
    threads: int = option(1, at_least=1)
