"""Options of ``speechweave chat``."""

from __future__ import annotations

from dataclasses import dataclass, field

from runtime.config import Options, option


@dataclass(kw_only=True)
class ChatConfig(Options):
    """Options of speechweave chat.

    Attributes:
        questions: spoken questions, audio files; without any, a dialogue at the keyboard and by microphone.
        out: file of the spoken answer, numbered if there are several (default: answer.wav, in a dialogue only where
            there is no loudspeaker).
        bundle: folder of the chatbot.
        voice: that answers are spoken in (default: the bundle's own).
        threads: CPU threads of each model.
        play: play the answers to sound files, too.
        json: print one JSON object a question instead of lines.
    """

    questions: list[str] = field(default_factory=list)
    out: str | None = None
    bundle: str = "runs/quickstart/bundle"
    voice: str | None = None
    threads: int = option(1, at_least=1)
    play: bool = False
    json: bool = False
