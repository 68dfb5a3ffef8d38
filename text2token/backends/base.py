"""Base of the backends that are serving engines of other projects, run in this process."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
import numpy.typing as npt

from lm.data.vocabulary import Vocabulary
from runtime.artefact import read_json
from text2token.speech_generation import SpeechGenerationConfig, SpeechSampling


class RowSampling(NamedTuple):
    """Sampling of one row: ids that end it, its most new tokens, temperature, nucleus mass and seed."""

    stop: list[int]
    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int


class EngineRow(NamedTuple):
    """New ids of a row as an engine returns them, and the stop id that ended it (None if the limit did)."""

    ids: Sequence[int]
    stopped_by: Any


class EngineBackend(ABC):
    """An engine as a `text2token.speech_generation.SpeechBackend`; a subclass starts it and implements `run`.

    Args:
        config: the options.
        device: a torch device.
        vocabulary: of the model.

    Attributes:
        max_length: most tokens of a prompt and its continuation together.
    """

    def __init__(self, config: SpeechGenerationConfig, device: str, vocabulary: Vocabulary) -> None:
        select_gpu(device)
        self.max_length = int(read_json(Path(config.model) / "config.json")["max_position_embeddings"])

    @abstractmethod
    def run(self, prompts: list[list[int]], samplings: list[RowSampling]) -> list[EngineRow]:
        """Continue each prompt by speech ids until a stop id or its limit."""

    def generate(
        self,
        prompts: Sequence[npt.NDArray[np.int32]],
        **sampling: Unpack[SpeechSampling],
    ) -> list[npt.NDArray[np.int32]]:
        """Continue each prompt until a stop id (part of the result) or its limit, by its own seed."""
        stop, temperature, top_p = sampling["stop"], sampling["temperature"], sampling["top_p"]
        samplings = [
            RowSampling(list(stop), int(limit), temperature, top_p, seed)
            for limit, seed in zip(sampling["max_new_tokens"], sampling["seeds"], strict=True)
        ]
        rows = self.run([prompt.tolist() for prompt in prompts], samplings)
        return [np.array(finished_row(list(row.ids), stop, row.stopped_by), np.int32) for row in rows]


def finished_row(ids: list[int], stop: Sequence[int], stopped_by: Any) -> list[int]:
    """New ids of a row with the stop id last, also where the engine leaves that out.

    Args:
        ids: as the engine returns them.
        stop: ids that end a row.
        stopped_by: the stop id that ended it, None if the limit did.
    """
    has_ended = stopped_by in stop and (not ids or ids[-1] != stopped_by)
    return [*ids, int(stopped_by)] if has_ended else ids


def select_gpu(device: str) -> None:
    """Make a ``cuda:N`` the only GPU that this process sees: engines take the first visible one."""
    if device.startswith("cuda:"):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        number = int(device.removeprefix("cuda:"))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number] if visible else str(number)
