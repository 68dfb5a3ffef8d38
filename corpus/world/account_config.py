"""Options of corpus.accounts."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.room_simulation import RoomConfig
from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class AccountCorpusConfig(StageConfig):
    """Options of corpus.accounts.

    Attributes:
        out: run folder.
        seed: of situations, wordings and speech; the same seed gives the same bytes.
        corpus: folder of corpus.build: its voices speak, and its training data tell none of the held-out situations.
        accounts: training requests, each of another situation or another wording, in the seen voices in turn.
        heldout_accounts: requests of held-out situations, in the seen voices in turn.
        room: room simulation of the requests; replies are spoken in the answer voice, without a room.
        workers: processes; 0 for all CPUs.
    """

    corpus: str
    accounts: int = option(1500, at_least=1, at_most=20000)
    heldout_accounts: int = option(120, at_least=1, at_most=400)
    room: RoomConfig = field(default_factory=RoomConfig)
    workers: int = option(0, at_least=0)
