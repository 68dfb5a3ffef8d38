"""What is kept of talks with a served chatbot: the conditions they were held under, one record for each question."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.audio.files import write_audio
from corpus.manifest import Utterance

from .talk import REALTIME_RATE, Talk

GAP_SECONDS = 0.001  # a shorter one is no silence that anyone hears


@dataclass(frozen=True)
class Condition:
    """Who ends a turn, and how many talk: ``talkers`` in a closed loop, or (``rate`` above 0) an open loop.

    Attributes:
        turn: "commit" or "server_vad".
        talkers: who talk at once; 0 in an open loop.
        rate: questions a second; 0 in a closed loop.
    """

    turn: str
    talkers: int = 0
    rate: float = 0.0

    @property
    def label(self) -> str:
        """A name for metrics and folders."""
        rate = f"rate_{self.rate:g}".replace(".", "_")
        return f"{self.turn}.{rate if self.rate else self.talkers}"


def keep_talk(talk: Talk, asked: Utterance, condition: Condition, folder: Path) -> dict[str, Any]:
    """Write the speech of a reply; returns the record of the talk, a line of ``answers.jsonl``."""
    file = folder / "audio" / condition.label / f"{talk.id.replace('/', '_')}.wav"
    if talk.pieces:
        write_audio(file, talk.audio, REALTIME_RATE)
    heard = talk.playback
    return {
        "id": f"{condition.label}/{talk.id}",
        "condition": condition.label,
        "audio": relative(asked.audio, folder),
        "question": asked.text,
        "heard": talk.heard,
        "said": talk.said,
        "reply_audio": relative(file, folder) if talk.pieces else None,
        "speaker": asked.speaker,
        "seconds": round(talk.seconds, 3),
        "status": talk.status,
        "reason": talk.reason,
        "early": talk.early,
        "first_audio": rounded(talk.first_audio_seconds),
        "real_time_factor": rounded(talk.real_time_factor),
        "gaps": audible_gaps(talk),
        "head_start": rounded(heard.head_start) if heard else None,
    }


def keep_interruption(talk: Talk) -> dict[str, Any]:
    """The record of an interrupted reply: how long until it was silent, and what came nevertheless.

    ``stop`` is counted from the first sound of the interruption until the talker's player is told to stop (with
    commit it stops by its own button: until the server says that the reply is over); ``late`` is the speech that came
    after that; ``ended`` tells whether the reply had been made whole before (then only the player is to stop).
    """
    record: dict[str, Any] = {"id": talk.id, "status": talk.status, "reason": talk.reason, "stop": None, "late": None}
    if talk.interrupted is None or talk.silenced is None or talk.ended is None:
        return record
    is_button = talk.silenced == talk.interrupted
    is_whole = talk.ended < talk.interrupted
    silent = talk.ended if is_button else talk.silenced
    late = sum(piece.num_samples for piece in talk.arrivals if piece.at > talk.silenced) / REALTIME_RATE
    stop = 0.0 if is_button and is_whole else silent - talk.interrupted
    return record | {"stop": rounded(stop), "late": rounded(late), "was_whole": is_whole}


def audible_gaps(talk: Talk) -> list[float]:
    """Seconds of the silences within a reply for want of samples."""
    return [round(gap, 4) for gap in talk.playback.gaps if gap > GAP_SECONDS] if talk.playback else []


def rounded(value: float | None) -> float | None:
    """Tenths of milliseconds."""
    return None if value is None else round(value, 4)


def relative(file: Path, folder: Path) -> str:
    """The path of a file from a folder, whatever links lead there."""
    return os.path.relpath(file.resolve(), folder.resolve())
