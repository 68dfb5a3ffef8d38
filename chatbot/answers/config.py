"""Options of chatbot.respond."""

from __future__ import annotations

from dataclasses import dataclass, field

from corpus.audio.segments import DURATION_TOLERANCE
from runtime.config import option
from runtime.stage import StageConfig


@dataclass(kw_only=True)
class RespondConfig(StageConfig):
    """Options of chatbot.respond.

    Attributes:
        out: run folder; answers.jsonl and audio/ are written there.
        seed: of the choice of questions and voices.
        bundle: run folder of chatbot.bundle, or the bundle in it.
        manifest: spoken questions (NeMo JSON lines).
        dialogues: a file of dialogues (dialogues_heldout.jsonl of corpus.build) whose questions are in the manifest;
            all of them are asked, in their order. "" asks distinct questions of the manifest, each by itself.
        kind: only utterances of this kind; empty takes all.
        voices: only questions of these voices; none named means all.
        limit: largest number of distinct questions (or dialogues); 0 takes all.
        batch: questions answered at once, each of another dialogue.
        threads: CPU threads.
        max_bad_share: largest share of unreadable, too short or too long questions.
        duration_tolerance: seconds by which the length of an audio file may differ from the manifest's duration, beyond
            which the record is bad.
    """

    bundle: str
    manifest: str
    dialogues: str = ""
    kind: str = "question"
    voices: list[str] = field(default_factory=list)
    limit: int = option(160, at_least=0)
    batch: int = option(16, at_least=1)
    threads: int = option(1, at_least=1)
    max_bad_share: float = option(0.02, at_least=0, below=1)
    duration_tolerance: float = option(DURATION_TOLERANCE, at_least=0, is_later=True)
