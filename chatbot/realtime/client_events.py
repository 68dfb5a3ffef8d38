"""What a client may say: one dataclass for each event of the protocol, read from a WebSocket message and checked.

`session.update` and `response.create` keep their fields unread, as their meaning depends on the session
(`chatbot.realtime.settings`); so does the item of `conversation.item.create` (`chatbot.realtime.items`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from .fields import Fields, kind_of
from .refusal import Refusal

LONGEST_AUDIO_MS = 86_400_000


@dataclass(frozen=True, kw_only=True)
class ClientEvent:
    """Any event; ``event_id`` is the client's own name for it."""

    event_id: str | None


@dataclass(frozen=True, kw_only=True)
class SessionUpdate(ClientEvent):
    """Change the settings."""

    session: Fields


@dataclass(frozen=True, kw_only=True)
class AudioAppend(ClientEvent):
    """More of the user's speech, in base64."""

    audio: str


@dataclass(frozen=True, kw_only=True)
class AudioCommit(ClientEvent):
    """The user's turn is over."""


@dataclass(frozen=True, kw_only=True)
class AudioClear(ClientEvent):
    """Forget the speech since the last commit."""


@dataclass(frozen=True, kw_only=True)
class ItemCreate(ClientEvent):
    """Add a message, after ``previous_item_id`` ("root": in front; None: at the end)."""

    item: Fields
    previous_item_id: str | None


@dataclass(frozen=True, kw_only=True)
class ItemDelete(ClientEvent):
    """Take a message out."""

    item_id: str


@dataclass(frozen=True, kw_only=True)
class ItemRetrieve(ClientEvent):
    """Show a message with its sound."""

    item_id: str


@dataclass(frozen=True, kw_only=True)
class ItemTruncate(ClientEvent):
    """Of a spoken reply only the first ``audio_end_ms`` were played."""

    item_id: str
    content_index: int
    audio_end_ms: int


@dataclass(frozen=True, kw_only=True)
class ResponseCreate(ClientEvent):
    """Reply now."""

    response: Fields | None


@dataclass(frozen=True, kw_only=True)
class ResponseCancel(ClientEvent):
    """Stop the reply."""

    response_id: str | None


def read_item_create(fields: Fields, event_id: str | None) -> ItemCreate:
    """A ``conversation.item.create``."""
    item = Fields(fields.require("item"), "item")
    return ItemCreate(event_id=event_id, item=item, previous_item_id=fields.optional_text("previous_item_id"))


def read_truncate(fields: Fields, event_id: str | None) -> ItemTruncate:
    """A ``conversation.item.truncate``."""
    return ItemTruncate(
        event_id=event_id,
        item_id=fields.text("item_id"),
        content_index=fields.integer("content_index", low=0, high=LONGEST_AUDIO_MS),
        audio_end_ms=fields.integer("audio_end_ms", low=0, high=LONGEST_AUDIO_MS),
    )


def read_clear_output(fields: Fields, event_id: str | None) -> ClientEvent:
    """An ``output_audio_buffer.clear``, which is not for WebSockets."""
    message = "output_audio_buffer.clear is for WebRTC and SIP only: stop playing, and send response.cancel."
    raise Refusal(message, code="unsupported_event", param="type")


READERS: dict[str, Callable[[Fields, str | None], ClientEvent]] = {
    "session.update": lambda fields, event_id: SessionUpdate(
        event_id=event_id, session=Fields(fields.require("session"), "session")
    ),
    "input_audio_buffer.append": lambda fields, event_id: AudioAppend(event_id=event_id, audio=fields.text("audio")),
    "input_audio_buffer.commit": lambda fields, event_id: AudioCommit(event_id=event_id),
    "input_audio_buffer.clear": lambda fields, event_id: AudioClear(event_id=event_id),
    "conversation.item.create": read_item_create,
    "conversation.item.delete": lambda fields, event_id: ItemDelete(event_id=event_id, item_id=fields.text("item_id")),
    "conversation.item.retrieve": lambda fields, event_id: ItemRetrieve(
        event_id=event_id, item_id=fields.text("item_id")
    ),
    "conversation.item.truncate": read_truncate,
    "response.create": lambda fields, event_id: ResponseCreate(event_id=event_id, response=fields.object("response")),
    "response.cancel": lambda fields, event_id: ResponseCancel(
        event_id=event_id, response_id=fields.optional_text("response_id")
    ),
    "output_audio_buffer.clear": read_clear_output,
}


def read_client_event(message: str | bytes | None) -> ClientEvent:
    """The event in one WebSocket message.

    Raises:
        Refusal: no text, no JSON, no event of the protocol, or one with wrong fields; it bears the event's id where
            that could be read.
    """
    if not isinstance(message, str):
        text = "Events are JSON in text messages; binary messages are not accepted (send audio in base64)."
        raise Refusal(text, code="invalid_message")
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"The message is no JSON: {str(error)[:200]}.", code="invalid_json") from error
    event_id = value.get("event_id") if isinstance(value, dict) else None
    try:
        return read_fields(value)
    except Refusal as refusal:
        refusal.event_id = event_id if isinstance(event_id, str) else None
        raise


def read_fields(value: object) -> ClientEvent:
    """The event in a JSON value."""
    if not isinstance(value, dict):
        raise Refusal(f"An event is a JSON object, not {kind_of(value)}.", code="invalid_type")
    fields = Fields(value)
    event_id = fields.optional_text("event_id")
    kind = fields.text("type")
    if kind not in READERS:
        raise fields.bad("type", repr(kind[:80]), "one of " + ", ".join(map(repr, READERS)))
    event = READERS[kind](fields, event_id)
    fields.end()
    return event
