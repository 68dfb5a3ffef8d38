"""Options of evaluation.accounts."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class AccountsConfig(StageConfig):
    """Options of evaluation.accounts.

    Attributes:
        out: run folder; details.jsonl and scores.json are written there.
        seed: unused: the judge is deterministic.
        accounts: output folder of corpus.accounts.
        answers: output folder of chatbot.respond, that asked its held-out requests.
        processes: the judge's processes.
    """

    accounts: str
    answers: str
    processes: int = option(2, at_least=1)
