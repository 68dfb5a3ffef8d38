"""Conditions of an evaluation of a served chatbot, and the record of each exchange."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpus.audio.files import write_audio
from corpus.manifest import Utterance
from runtime.artefact import relative_path

from .exchange import REALTIME_RATE, Exchange

GAP_SECONDS = 0.001  # shorter ones are inaudible


@dataclass(frozen=True)
class Condition:
    """End of turns and load: a closed loop of ``talkers`` clients, or (``rate`` above 0) an open loop.

    Attributes:
        turn: "commit" or "server_vad".
        talkers: concurrent clients; 0 in an open loop.
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


def save_exchange(exchange: Exchange, asked: Utterance, condition: Condition, folder: Path) -> dict[str, Any]:
    """Write the speech of a reply; returns the record of the exchange, a line of ``answers.jsonl``."""
    file = folder / "audio" / condition.label / f"{exchange.id.replace('/', '_')}.wav"
    if exchange.pieces:
        write_audio(file, exchange.audio, REALTIME_RATE)
    playback = exchange.playback
    return {
        "id": f"{condition.label}/{exchange.id}",
        "condition": condition.label,
        "audio": relative_path(asked.audio, folder),
        "question": asked.text,
        "heard": exchange.heard,
        "said": exchange.said,
        "reply_audio": relative_path(file, folder) if exchange.pieces else None,
        "speaker": asked.speaker,
        "seconds": round(exchange.seconds, 3),
        "status": exchange.status,
        "reason": exchange.reason,
        "early": exchange.early,
        "first_audio": rounded(exchange.first_audio_seconds),
        "real_time_factor": rounded(exchange.real_time_factor),
        "gaps": audible_gaps(exchange),
        "head_start": rounded(playback.head_start) if playback else None,
    }


def interruption_record(exchange: Exchange) -> dict[str, Any]:
    """The record of an interrupted reply: time until silence, and the speech that arrived after it.

    ``stop`` is the time from the first sound of the interruption until the server stops the client's player (commit:
    until the server ends the reply); ``late`` is the speech that arrived after that, in seconds; ``was_whole``: the
    reply was complete before the interruption, so that only the player had to stop.
    """
    record: dict[str, Any] = {
        "id": exchange.id,
        "status": exchange.status,
        "reason": exchange.reason,
        "stop": None,
        "late": None,
    }
    if exchange.interrupted is None or exchange.silenced is None or exchange.ended is None:
        return record
    is_button = exchange.silenced == exchange.interrupted
    is_whole = exchange.ended < exchange.interrupted
    silent = exchange.ended if is_button else exchange.silenced
    late = sum(piece.num_samples for piece in exchange.arrivals if piece.at > exchange.silenced) / REALTIME_RATE
    stop = 0.0 if is_button and is_whole else silent - exchange.interrupted
    return record | {"stop": rounded(stop), "late": rounded(late), "was_whole": is_whole}


def audible_gaps(exchange: Exchange) -> list[float]:
    """Seconds of the silences within a reply caused by late samples."""
    return [round(gap, 4) for gap in exchange.playback.gaps if gap > GAP_SECONDS] if exchange.playback else []


def rounded(value: float | None) -> float | None:
    """Rounded to tenths of milliseconds."""
    return None if value is None else round(value, 4)
