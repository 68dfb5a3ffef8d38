"""Limits of a Realtime connection."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.config import Options, option


@dataclass(kw_only=True)
class RealtimeOptions(Options):
    """Limits of one connection, the same for every client.

    Attributes:
        max_message_bytes: of one client message; the protocol allows 15 MiB of audio in base64.
        idle_seconds: a client that sends nothing for as long, while no reply is on its way, is disconnected.
        max_session_seconds: duration of one connection.
        send_seconds: a client that reads nothing for as long, while events wait for it, is disconnected.
        outbox_events: events that may wait for a slow client before its reply waits, too.
        max_items: of a conversation (at least a question and its answer); the oldest are dropped first.
        kept_audio_seconds: of the user's own audio kept for retrieval and for edits of the conversation.
    """

    max_message_bytes: int = option(16 * 2**20, above=0)
    idle_seconds: float = option(300.0, above=0)
    max_session_seconds: float = option(3600.0, above=0)
    send_seconds: float = option(20.0, above=0)
    outbox_events: int = option(64, above=0)
    max_items: int = option(512, at_least=2)
    kept_audio_seconds: float = option(120.0, at_least=0)
