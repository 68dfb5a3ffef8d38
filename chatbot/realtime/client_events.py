"""Client events of the Realtime protocol as pydantic models, and the reading of one from a WebSocket message.

Fields that this server cannot honour are refused by name unless they ask for nothing (`refused_unless`); fields that
tune OpenAI's own machinery (tracing, truncation, reasoning) are typed `Ignored` and change nothing. Null stands for an
absent field.
"""

from __future__ import annotations

import json
from collections.abc import Container
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from corpus.surrogates import ESCAPED, lone_surrogate_path

from .formats import FORMATS
from .refusal import UNSUPPORTED, Refusal, json_type, refusal_of

LONGEST_AUDIO_MS = 86_400_000
LONGEST_NAME = 512  # characters of an id
LONGEST_INSTRUCTIONS = 16_384  # characters; the model's context is far shorter
LONGEST_TEXT = 65_536  # characters of one part of a message
MOST_TOKENS = 4_096
MOST_PARTS = 64
MODALITIES = (["audio"], ["text"])

Ignored = Any
Name = Annotated[str, Field(max_length=LONGEST_NAME)]
Milliseconds = Annotated[int, Field(ge=0, le=LONGEST_AUDIO_MS)]


def refused_unless(reason: str, *harmless: object) -> AfterValidator:
    """The check of a field that is not served: only None and ``harmless`` values, which ask for nothing, pass."""

    def check(value: Any) -> Any:
        if any(value == each and type(value) is type(each) for each in (None, *harmless)):
            return value
        raise PydanticCustomError(UNSUPPORTED, "{reason}", {"reason": reason})

    return AfterValidator(check)


def invalid_value(found: str, expected: str) -> PydanticCustomError:
    """The error of a value of the right type that is out of place."""
    return PydanticCustomError(
        "invalid_value", "found {found}, expected {expected}", {"found": found, "expected": expected}
    )


def one_modality(value: Any) -> Any:
    """``["audio"]`` (speech brings its transcript along) or ``["text"]``."""
    if value is not None and value not in MODALITIES:
        raise invalid_value(repr(value)[:80], '["audio"] or ["text"]')
    return value


def string_table(value: Any) -> Any:
    """Up to 16 strings by name."""
    is_table = isinstance(value, dict) and len(value) <= 16
    if value is not None and not (
        is_table and all(isinstance(text, str) and len(text) <= 512 and len(key) <= 64 for key, text in value.items())
    ):
        raise invalid_value("something else", "up to 16 strings of up to 512 characters")
    return value


def known_or_set(value: Any, known: Container[str]) -> Any:
    """A JSON object without the unknown fields that are null."""
    if not isinstance(value, dict):
        return value
    return {name: inner for name, inner in value.items() if inner is not None or name in known}


class ProtocolObject(BaseModel):
    """An object of the protocol: an unknown field or a value of another JSON type is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_unknown_nulls(cls, value: Any) -> Any:
        """SDKs send every field of their types, null where it is unset: null of an unknown field asks for nothing."""
        return known_or_set(value, cls.model_fields)


class AudioFormat(ProtocolObject):
    """Encoding of audio on the wire; the sample rate of each is fixed."""

    type: str | None = None
    rate: int | None = None

    @field_validator("type")
    @classmethod
    def _check_type(cls, value: str | None) -> str | None:
        if value is not None and value not in FORMATS:
            raise invalid_value(repr(value[:80]), f"one of {', '.join(map(repr, FORMATS))}")
        return value

    @field_validator("rate")
    @classmethod
    def _check_rate(cls, value: int | None, info: ValidationInfo) -> int | None:
        fixed = FORMATS[info.data.get("type") or "audio/pcm"].rate
        if value not in (None, fixed):
            raise invalid_value(str(value)[:40], str(fixed))
        return value

    @property
    def name(self) -> str:
        """Key of `chatbot.realtime.formats.FORMATS`."""
        return self.type or "audio/pcm"


class VoiceObject(ProtocolObject):
    """A voice by its id."""

    id: str


class OutputAudioOptions(ProtocolObject):
    """Format, voice and speed of replies."""

    format: AudioFormat | None = None
    voice: VoiceObject | None = None
    speed: Annotated[Any, refused_unless("speech has the speed that the model gives it", 1, 1.0)] = None

    @field_validator("voice", mode="before")
    @classmethod
    def _read_name(cls, value: Any) -> Any:
        return {"id": value} if isinstance(value, str) else value


class TurnDetection(ProtocolObject):
    """Server-side voice activity detection; what is absent stays as it was."""

    type: str | None = None
    threshold: Annotated[float | None, Field(ge=0, le=1, allow_inf_nan=False)] = None
    prefix_padding_ms: Annotated[int | None, Field(ge=0, le=5_000)] = None
    silence_duration_ms: Annotated[int | None, Field(ge=100, le=10_000)] = None
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: Annotated[Any, refused_unless("the server does not speak unasked")] = None

    @field_validator("type")
    @classmethod
    def _check_type(cls, value: str | None) -> str | None:
        if value == "semantic_vad":
            reason = "semantic turn detection is not served; use server_vad, or null and commit yourself"
            raise PydanticCustomError(UNSUPPORTED, "{reason}", {"reason": reason})
        if value not in (None, "server_vad"):
            raise invalid_value(repr(value[:80]), "'server_vad'")
        return value


class InputTranscription(ProtocolObject):
    """Transcription of the user's speech, sent to the client as it is understood."""

    language: Annotated[str | None, Field(max_length=16)] = None
    model: Ignored = None
    prompt: Ignored = None
    delay: Ignored = None
    keywords: Ignored = None
    languages: Ignored = None


class InputAudioOptions(ProtocolObject):
    """Format and transcription of the user's audio, and detection of its turns."""

    format: AudioFormat | None = None
    transcription: InputTranscription | None = None
    turn_detection: TurnDetection | None = None
    noise_reduction: Annotated[Any, refused_unless("audio is taken as it is; send null")] = None


class ResponseAudio(ProtocolObject):
    """Audio of one response."""

    output: OutputAudioOptions | None = None


class SessionAudio(ResponseAudio):
    """Audio of a session."""

    input: InputAudioOptions | None = None


class ResponseOptions(ProtocolObject):
    """Options that a session and a single response share."""

    output_modalities: Annotated[Any, AfterValidator(one_modality)] = None
    instructions: Annotated[str | None, Field(max_length=LONGEST_INSTRUCTIONS)] = None
    max_output_tokens: Annotated[
        Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None,
        BeforeValidator(lambda value: None if value == "inf" else value),
    ] = None
    tools: Annotated[Any, refused_unless("the model calls no tools; send none", [])] = None
    tool_choice: Annotated[Any, refused_unless("the model calls no tools", "auto", "none")] = None
    prompt: Annotated[Any, refused_unless("prompt templates are not kept here; send instructions")] = None
    reasoning: Ignored = None
    parallel_tool_calls: Ignored = None


class SessionObject(ResponseOptions):
    """The ``session`` of a ``session.update``."""

    type: str
    audio: SessionAudio | None = None
    include: Annotated[Any, refused_unless("log probabilities are not given", [])] = None
    model: Ignored = None
    tracing: Ignored = None
    truncation: Ignored = None
    id: Ignored = None
    object: Ignored = None
    expires_at: Ignored = None
    client_secret: Ignored = None

    @field_validator("type")
    @classmethod
    def _check_type(cls, value: str) -> str:
        if value == "transcription":
            reason = "transcription sessions are not served; use a realtime session with audio.input.transcription"
            raise PydanticCustomError(UNSUPPORTED, "{reason}", {"reason": reason})
        if value != "realtime":
            raise invalid_value(repr(value[:80]), "'realtime'")
        return value


class ResponseObject(ResponseOptions):
    """The ``response`` of a ``response.create``."""

    audio: ResponseAudio | None = None
    conversation: Annotated[Any, refused_unless("replies outside the conversation are not served", "auto")] = None
    input: Annotated[Any, refused_unless("a reply is always to the whole conversation; create items instead")] = None
    metadata: Annotated[Any, AfterValidator(string_table)] = None


class PartObject(ProtocolObject):
    """One part of a message: text, or audio in base64 with its transcript where there is one."""

    type: str
    text: Annotated[str | None, Field(max_length=LONGEST_TEXT)] = None
    audio: str | None = None
    transcript: Annotated[str | None, Field(max_length=LONGEST_TEXT)] = None
    detail: Ignored = None
    image_url: Ignored = None


class ItemObject(ProtocolObject):
    """The ``item`` of a ``conversation.item.create``: a message (the model calls no tools)."""

    type: str
    role: Literal["user", "assistant", "system"]
    content: Annotated[list[PartObject], Field(min_length=1, max_length=MOST_PARTS)]
    id: Annotated[str | None, Field(max_length=64)] = None
    object: Ignored = None
    status: Ignored = None

    @field_validator("type")
    @classmethod
    def _check_type(cls, value: str) -> str:
        if value != "message":
            reason = f"items of type {value[:80]!r} are not served, the model calls no tools; send a message"
            raise PydanticCustomError(UNSUPPORTED, "{reason}", {"reason": reason})
        return value


class ClientEvent(ProtocolObject):
    """Any event; ``event_id`` is the client's own name for it."""

    type: str
    event_id: Name | None = None


class SessionUpdate(ClientEvent):
    """Change the settings."""

    session: SessionObject


class AudioAppend(ClientEvent):
    """More of the user's speech, in base64."""

    audio: str


class AudioCommit(ClientEvent):
    """The user's turn is over."""


class AudioClear(ClientEvent):
    """Forget the speech since the last commit."""


class ItemCreate(ClientEvent):
    """Add a message, after ``previous_item_id`` ("root": in front; None: at the end)."""

    item: ItemObject
    previous_item_id: Name | None = None


class ItemDelete(ClientEvent):
    """Take a message out."""

    item_id: str


class ItemRetrieve(ClientEvent):
    """Show a message with its audio."""

    item_id: str


class ItemTruncate(ClientEvent):
    """Of a spoken reply only the first ``audio_end_ms`` were played."""

    item_id: str
    content_index: Milliseconds
    audio_end_ms: Milliseconds


class ResponseCreate(ClientEvent):
    """Reply now."""

    response: ResponseObject | None = None


class ResponseCancel(ClientEvent):
    """Stop the reply."""

    response_id: Name | None = None


class OutputAudioClear(ClientEvent):
    """Clear what WebRTC still plays: not for WebSockets."""


class EventEnvelope(ClientEvent):
    """The fields that every event has; the others are not looked at."""

    model_config = ConfigDict(extra="ignore")


EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": AudioAppend,
    "input_audio_buffer.commit": AudioCommit,
    "input_audio_buffer.clear": AudioClear,
    "conversation.item.create": ItemCreate,
    "conversation.item.delete": ItemDelete,
    "conversation.item.retrieve": ItemRetrieve,
    "conversation.item.truncate": ItemTruncate,
    "response.create": ResponseCreate,
    "response.cancel": ResponseCancel,
    "output_audio_buffer.clear": OutputAudioClear,
}


def read_client_event(message: str | bytes | None) -> ClientEvent:
    """The event in one WebSocket message.

    Raises:
        Refusal: no text, no JSON, no event of the protocol, or one with wrong fields; it carries the event's id where
            that could be read.
    """
    if not isinstance(message, str):
        text = "Events are JSON in text messages; binary messages are not accepted (send audio in base64)."
        raise Refusal(text, code="invalid_message")
    try:
        value = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise Refusal(f"The message is no JSON: {str(error)[:200]}.", code="invalid_json") from error
    if ESCAPED.search(message) and (path := lone_surrogate_path(value)) is not None:
        raise Refusal.invalid_value(path, "half of a surrogate pair", "whole characters")
    event_id = value.get("event_id") if isinstance(value, dict) else None
    try:
        return validate_event(value)
    except Refusal as refusal:
        refusal.event_id = event_id if isinstance(event_id, str) else None
        raise


def validate_event(value: object) -> ClientEvent:
    """The event in a JSON value."""
    if not isinstance(value, dict):
        raise Refusal(f"An event is a JSON object, not {json_type(value)}.", code="invalid_type")
    try:
        kind = EventEnvelope.model_validate(value).type
        if kind not in EVENTS:
            raise Refusal.invalid_value("type", repr(kind[:80]), f"one of {', '.join(map(repr, EVENTS))}")
        if EVENTS[kind] is OutputAudioClear:
            text = "output_audio_buffer.clear is for WebRTC and SIP only: stop playing, and send response.cancel."
            raise Refusal(text, code="unsupported_event", param="type")
        return EVENTS[kind].model_validate(value)
    except ValidationError as error:
        raise refusal_of(error) from error
