"""Options of corpus.facts."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig

from .made_up_facts import ENTITIES


@dataclass(kw_only=True)
class FactCorpusConfig(StageConfig):
    """Options of corpus.facts.

    Attributes:
        out: run folder.
        seed: of facts, groups, texts and speech; the same seed gives the same bytes.
        corpus: folder of corpus.build, whose voices speak, and which must not tell any of the facts.
        num_entities: that facts are made up about; four facts each.
        voices: names of the voices that speak (none named: the answer voice).
        spoken_texts: training texts about the facts of the group ``spoken``.
        interleaved_texts: training texts about the facts of the group ``interleaved``.
        text_texts: training texts about the facts of the group ``text``.
        heldout_texts: texts of each group for validation, none of which is among the training texts.
        random_utterances: utterances of random words, which name every entity and every attribute but tell no fact.
        workers: processes; 0 for all CPUs.
    """

    corpus: str
    num_entities: int = option(len(ENTITIES), at_least=3, at_most=len(ENTITIES), is_later=True)
    voices: list[str] = option([])
    spoken_texts: int = option(800, at_least=1)
    interleaved_texts: int = option(1800, at_least=1)
    text_texts: int = option(1800, at_least=1)
    heldout_texts: int = option(30, at_least=1)
    random_utterances: int = option(700, at_least=0)
    workers: int = option(0, at_least=0)
