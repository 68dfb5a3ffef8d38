"""Options of chatbot.dialogue_import."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.segments import DURATION_TOLERANCE
from runtime.bulk.launch import BulkConfig
from runtime.config import option
from runtime.errors import check_option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class DialogueImportConfig(StageConfig):
    """Options of chatbot.dialogue_import.

    Attributes:
        seed: unused: nothing is drawn.
        turns: a manifest of turns, or dialogues whose turns have audio.
        turns_heldout: the same, for the validation split ("" = none).
        tokenizer: run folder of tokenizer.train, or its artefact.
        max_seconds: of a turn; a dialogue with a longer one is left out.
        max_bad_share: share of dialogues that may be bad, or have audio that cannot be read.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
        unit_dialogues: dialogues of a unit of work.
        processes: worker processes; changes speed only.
        threads: torch threads of each process.
        devices: where to run, workers take them in turn: [cpu], [cuda:0, cuda:1].
        bulk: launch of the workers, and tolerated failures.
    """

    turns: str
    tokenizer: str
    turns_heldout: str = ""
    max_seconds: float = option(60.0, above=0)
    max_bad_share: float = option(0.01, at_least=0, at_most=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)
    unit_dialogues: int = option(64, at_least=1)
    processes: int = option(1, at_least=1)
    threads: int = option(1, at_least=1)
    devices: list[str] = field(default_factory=lambda: ["cpu"])
    bulk: BulkConfig = field(default_factory=BulkConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option(bool(self.devices), "devices", self.devices, "give at least one, e.g. [cpu]")
