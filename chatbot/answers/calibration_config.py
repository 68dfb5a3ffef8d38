"""Options of chatbot.calibrate."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class CalibrateConfig(StageConfig):
    """Options of chatbot.calibrate.

    Attributes:
        out: run folder; the bundle with the threshold is <out>/bundle.
        seed: of the choice of questions and voices.
        bundle: run folder of chatbot.bundle, or the bundle in it.
        manifest: spoken questions that the model knows the answers to, held out of its training (NeMo JSON lines).
        kind: only utterances of this kind; empty takes all.
        voices: only questions of these voices; none named means all.
        limit: largest number of distinct questions; 0 takes all.
        wanted_loss: largest share of these questions that may be taken for not understood, spoken and typed each.
        asks_typed: ask them as text, too; for a model that has learnt no typed questions choose false.
        batch: questions answered at once.
        threads: CPU threads.
    """

    bundle: str
    manifest: str
    kind: str = "question"
    voices: list[str] = field(default_factory=list)
    limit: int = option(100, at_least=0)
    wanted_loss: float = option(0.03, at_least=0, below=1)
    asks_typed: bool = True
    batch: int = option(16, at_least=1)
    threads: int = option(1, at_least=1)
