"""Events of a reply (text and speech piece by piece, then its end), and records of what the engine has done.

S samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from corpus.audio.files import Samples

Status = Literal["completed", "cancelled", "incomplete", "failed"]
NO_SPEECH = "no_speech"


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of a reply's prompt and of the reply, marks left out."""

    input_text: int = 0
    input_audio: int = 0
    output_text: int = 0
    output_audio: int = 0


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds of a reply. None where it had no such part.

    Attributes:
        prefill: from the end of the user's turn until the model had read all of it and chosen its first token.
        first_text: until the reply's first text.
        first_speech_token: until its first speech token.
        first_audio: until its first samples.
        total: until its end.
        listen: work left at the end of the turn: the last speech tokens of the question.
        think: waiting for the model's tokens, all of them.
        speak: work of the speech decoder, all blocks.
    """

    prefill: float | None = None
    first_text: float | None = None
    first_speech_token: float | None = None
    first_audio: float | None = None
    total: float = 0.0
    listen: float = 0.0
    think: float = 0.0
    speak: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TranscriptDelta:
    """A piece of the model's own transcript of the question."""

    text: str


@dataclass(frozen=True, kw_only=True)
class TextDelta:
    """A piece of the reply's text."""

    text: str


@dataclass(frozen=True, eq=False, kw_only=True)
class AudioDelta:
    """A piece (S,) of the reply's speech, float32 at the engine's rate."""

    samples: Samples


@dataclass(frozen=True, kw_only=True)
class ReplyDone:
    """The end of a reply; always the last event.

    Attributes:
        status: ``completed``, ``cancelled``, ``incomplete`` (a limit ended it) or ``failed``.
        reason: of an incomplete one ``max_tokens`` or ``context``; of a failed one the message; of a complete one
            `NO_SPEECH` where it is empty because nobody spoke in the question.
        text: the whole reply, as far as it was written.
        transcript: of the question; "" where the model wrote none.
        confidence: of the model (`ReplyDecoder.confidence`); None where nothing asks for it.
        is_understood: False where the reply is the bundle's sentence in the place of one that the model was unsure of.
        usage: tokens.
        timings: seconds.
    """

    status: Status
    reason: str = ""
    text: str = ""
    transcript: str = ""
    confidence: float | None = None
    is_understood: bool = True
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)


Event = TranscriptDelta | TextDelta | AudioDelta | ReplyDone


@dataclass(frozen=True, kw_only=True)
class CommittedTurn:
    """A whole spoken message: its length in seconds and in speech tokens, 0 where nobody spoke."""

    seconds: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """Transcript of speech: its text, the speech's seconds, tokens."""

    text: str
    seconds: float
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Load:
    """Load of an engine.

    Attributes:
        talkers: conversations that are open.
        max_talkers: conversations that may be open.
        responding: conversations whose reply is being made.
        queued_seconds: of the users' audio that is not encoded yet, all conversations together.
    """

    talkers: int
    max_talkers: int
    responding: int
    queued_seconds: float
