"""Limits of a Realtime connection."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import check_option


@dataclass(kw_only=True)
class RealtimeOptions:
    """Limits of one connection, the same for every client.

    Attributes:
        max_message_bytes: of one client message; the protocol allows 15 MiB of audio in base64.
        idle_seconds: a client that sends nothing for so long, while no reply is on its way, is let go.
        max_session_seconds: of one connection, whatever happens on it.
        send_seconds: a client that takes nothing for so long while events wait for it is let go.
        outbox_events: events that may wait for a slow client; the reply waits when so many do.
        max_items: of a conversation; the oldest are forgotten first.
        kept_audio_seconds: of the user's own audio kept for retrieval and for edits of the conversation.
        check_events: check each event against the types of the openai package before it is sent (for debugging).
    """

    max_message_bytes: int = 16 * 2**20
    idle_seconds: float = 300.0
    max_session_seconds: float = 3600.0
    send_seconds: float = 20.0
    outbox_events: int = 64
    max_items: int = 512
    kept_audio_seconds: float = 120.0
    check_events: bool = False

    def __post_init__(self) -> None:
        for name in ("max_message_bytes", "idle_seconds", "max_session_seconds", "send_seconds", "outbox_events"):
            check_option(getattr(self, name) > 0, name, getattr(self, name), "give a number above 0")
        check_option(self.max_items >= 2, "max_items", self.max_items, "keep at least a question and its answer")
        check_option(
            self.kept_audio_seconds >= 0, "kept_audio_seconds", self.kept_audio_seconds, "give 0 or a number above"
        )
