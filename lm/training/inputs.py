"""Inputs of one training of the language model on one process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lm.data.corpora import CorpusInfo
from lm.data.mixture import CorpusMixture
from lm.data.vocabulary import Vocabulary
from runtime.stage import Run

from .config import LmTrainConfig
from .processes import Processes
from .speech_setup import SpeechSetup


class TrainingInputs(NamedTuple):
    """Everything that a training reads.

    Attributes:
        config: the stage's config.
        run: its folder.
        processes: the open process groups.
        vocabulary: of the corpora.
        corpora: name -> opened corpus.
        mixture: the corpora's shares.
        speech: encoder and connector of corpora whose speech is read as vectors.
    """

    config: LmTrainConfig
    run: Run
    processes: Processes
    vocabulary: Vocabulary
    corpora: Mapping[str, CorpusInfo]
    mixture: CorpusMixture
    speech: SpeechSetup | None = None
