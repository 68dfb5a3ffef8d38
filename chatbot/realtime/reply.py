"""One response of the Realtime protocol, made of the engine's events::

    response.created
      response.output_item.added, conversation.item.added, response.content_part.added
        response.output_audio_transcript.delta ..., response.output_audio.delta ...      (or response.output_text.delta)
      response.output_audio.done, response.output_audio_transcript.done                  (or response.output_text.done)
      response.content_part.done, conversation.item.done, response.output_item.done
    response.done

A reply that ends before its first word makes no item.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from chatbot.engine.events import AudioDelta, ReplyDone, TextDelta, Usage
from chatbot.engine.pcm import Resampler, encode_base64
from corpus.audio.files import Samples

from .formats import FORMATS
from .ids import new_id
from .items import ContentPart, Item
from .settings import Settings, tokens_to_json

Event = dict[str, Any]
CancelReason = Literal["turn_detected", "client_cancelled"]
DELTA_SECONDS = 0.5  # of speech in one event: a reply that is cancelled takes no more than this along


class RealtimeResponse:
    """One response in the making.

    Args:
        settings: that it is made by.
        engine_rate: samples per second of the engine's speech.
        conversation_id: that it belongs to.
        metadata: of the client, sent back.

    Attributes:
        item: the message that it becomes; in the conversation once `has_item`.
        has_item: it has begun to say something.
        cancelled: why it is to end; None while it may go on.
        sent_samples: of speech handed out, at the rate of the output format.
        lost_sound: speech was made that the client will not get.
    """

    def __init__(
        self, settings: Settings, *, engine_rate: int, conversation_id: str, metadata: dict[str, str] | None = None
    ) -> None:
        self.settings, self.conversation_id, self.metadata = settings, conversation_id, metadata
        self.id = new_id("resp")
        self.is_spoken = settings.modality == "audio"
        self.part = ContentPart(kind="output_audio" if self.is_spoken else "output_text", text="")
        self.item = Item(role="assistant", parts=[self.part], status="in_progress")
        self.has_item = False
        self.cancelled: CancelReason | None = None
        self.sent_samples = 0
        self.lost_sound = False
        self._wire = FORMATS[settings.output_format]
        self._resampler = Resampler(engine_rate, self._wire.rate)

    @property
    def seconds(self) -> float:
        """Of speech handed out."""
        return self.sent_samples / self._wire.rate

    def created(self) -> Event:
        """The first event."""
        return {"type": "response.created", "response": self.to_json("in_progress")}

    def begin_item(self, previous_item_id: str | None) -> list[Event]:
        """The events of its first word, with the item that stands before it in the conversation."""
        self.has_item = True
        empty = self.item.to_json() | {"content": []}
        return [
            {"type": "response.output_item.added", "response_id": self.id, "output_index": 0, "item": empty},
            {"type": "conversation.item.added", "previous_item_id": previous_item_id, "item": empty},
            self.about_part("response.content_part.added") | {"part": self.part_json()},
        ]

    def say(self, event: TextDelta | AudioDelta) -> list[Event]:
        """The events of a piece of text or speech."""
        if isinstance(event, TextDelta):
            self.part.text = (self.part.text or "") + event.text
            kind = "response.output_audio_transcript.delta" if self.is_spoken else "response.output_text.delta"
            return [self.about_part(kind) | {"delta": event.text}] if event.text else []
        return self.sound(self._resampler.feed(event.samples)) if self.is_spoken else []

    def sound(self, samples: Samples) -> list[Event]:
        """The events of (S,) samples at the output format's rate."""
        step = int(DELTA_SECONDS * self._wire.rate)
        events = []
        for begin in range(0, len(samples), step):
            piece = samples[begin : begin + step]
            self.sent_samples += len(piece)
            delta = encode_base64(self._wire.encode(np.clip(piece, -1.0, 1.0)))
            events.append(self.about_part("response.output_audio.delta") | {"delta": delta})
        return events

    def is_sound(self, event: Event) -> bool:
        """Whether it is a piece of this reply's speech."""
        return event["type"] == "response.output_audio.delta" and event["response_id"] == self.id

    def take_back(self, events: list[Event]) -> None:
        """Speech that was handed out but never left the server."""
        for event in events:
            self.lost_sound = True
            num_bytes = len(event["delta"]) * 3 // 4 - event["delta"].count("=", -2)
            self.sent_samples -= num_bytes // self._wire.sample_bytes

    def end_item(self, done: ReplyDone, previous_item_id: str | None) -> list[Event]:
        """The events that end the item, the speech left over first."""
        events = [] if self.cancelled or not self.is_spoken else self.sound(self._resampler.finish())
        self.item.status = "completed" if done.status == "completed" else "incomplete"
        self.part.seconds = self.seconds
        if self.is_spoken:
            events.append(self.about_part("response.output_audio.done"))
            said = {"transcript": self.part.text or ""}
            events.append(self.about_part("response.output_audio_transcript.done") | said)
        else:
            events.append(self.about_part("response.output_text.done") | {"text": self.part.text or ""})
        item = self.item.to_json()
        return [
            *events,
            self.about_part("response.content_part.done") | {"part": self.part_json()},
            {"type": "conversation.item.done", "previous_item_id": previous_item_id, "item": item},
            {"type": "response.output_item.done", "response_id": self.id, "output_index": 0, "item": item},
        ]

    def done(self, done: ReplyDone) -> Event:
        """The last event."""
        response = self.to_json(done.status, details=status_details(done, self.cancelled), usage=done.usage)
        return {"type": "response.done", "response": response}

    def about_part(self, kind: str) -> Event:
        """An event about the only part of the only item."""
        place = {"response_id": self.id, "item_id": self.item.id, "output_index": 0, "content_index": 0}
        return {"type": kind} | place

    def part_json(self) -> dict[str, Any]:
        """The part as ``response.content_part`` events write it, which is not how items do."""
        text = self.part.text or ""
        return {"type": "audio", "transcript": text} if self.is_spoken else {"type": "text", "text": text}

    def to_json(
        self, status: str, *, details: dict[str, Any] | None = None, usage: Usage | None = None
    ) -> dict[str, Any]:
        """The response object."""
        settings = self.settings
        spoken = {"output": {"format": self._wire.to_json(), "voice": settings.voice}}
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [self.item.to_json()] if self.has_item else [],
            "conversation_id": self.conversation_id,
            "output_modalities": [settings.modality],
            "max_output_tokens": tokens_to_json(settings.max_output_tokens),
            "audio": spoken,
            "usage": usage_json(usage) if usage else None,
            "metadata": self.metadata,
        }


def status_details(done: ReplyDone, cancelled: CancelReason | None) -> dict[str, Any] | None:
    """Why a reply ended, unless it simply was complete."""
    if done.status == "cancelled":
        return {"type": "cancelled", "reason": cancelled or "client_cancelled"}
    if done.status == "incomplete":
        return {"type": "incomplete", "reason": "max_output_tokens"}  # the protocol knows no other limit
    if done.status == "failed":
        error = {"type": "server_error", "code": "reply_failed", "message": done.reason}
        return {"type": "failed", "error": error}
    return None


def usage_json(usage: Usage) -> dict[str, Any]:
    """Tokens as the protocol counts them."""
    heard, said = usage.input_text + usage.input_audio, usage.output_text + usage.output_audio
    return {
        "total_tokens": heard + said,
        "input_tokens": heard,
        "output_tokens": said,
        "input_token_details": {
            "text_tokens": usage.input_text,
            "audio_tokens": usage.input_audio,
            "image_tokens": 0,
            "cached_tokens": 0,
        },
        "output_token_details": {"text_tokens": usage.output_text, "audio_tokens": usage.output_audio},
    }
