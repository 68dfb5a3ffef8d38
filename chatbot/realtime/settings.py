"""What a session is set to, and how ``session.update`` changes it: the fields that are there, nothing else.

What this server can't do is refused by name (tools, semantic VAD, transcription sessions, ...); fields that only tune
OpenAI's own machinery (tracing, truncation, reasoning, parallel_tool_calls) are accepted and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatbot.engine.vad import TurnOptions

from .fields import Fields
from .formats import FORMATS
from .refusal import Refusal

MODALITIES = ("audio", "text")
LONGEST_INSTRUCTIONS = 16_384  # characters; the model's context is far shorter
MOST_TOKENS = 4_096
DEFAULT_VOICES = frozenset(
    (
        "default",
        "alloy",
        "ash",
        "ballad",
        "cedar",
        "coral",
        "echo",
        "fable",
        "marin",
        "nova",
        "onyx",
        "sage",
        "shimmer",
        "verse",
    )
)


@dataclass(frozen=True, kw_only=True)
class ServerVad:
    """How the end of the user's turn is found, and what then happens.

    Attributes:
        threshold: of loudness, 0 to 1.
        prefix_padding_ms: of sound before speech began that belongs to the turn.
        silence_duration_ms: that ends a turn.
        create_response: reply when a turn ends.
        interrupt_response: a turn's beginning cancels the reply that is on its way.
    """

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True

    def turn_options(self) -> TurnOptions:
        """As the turn detector takes it."""
        return TurnOptions(
            threshold=self.threshold, prefix_padding_ms=self.prefix_padding_ms, silence_ms=self.silence_duration_ms
        )

    def to_json(self) -> dict[str, Any]:
        """As the protocol writes it."""
        return {"type": "server_vad", "idle_timeout_ms": None, **vars(self)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One session's settings.

    Attributes:
        voice: one of the engine's.
        modality: of replies, "audio" (speech and its transcript) or "text".
        instructions: of the system.
        max_output_tokens: of a reply; None for the engine's own limit.
        turn_detection: None where the client says when its turn is over.
        transcription_language: what the client named; kept, as the model has but one.
        is_transcribed: tell the client what was understood of its speech.
        input_format: of the client's audio.
        output_format: of ours.
    """

    voice: str
    modality: str = "audio"
    instructions: str = ""
    max_output_tokens: int | None = None
    turn_detection: ServerVad | None = ServerVad()
    is_transcribed: bool = False
    transcription_language: str | None = None
    input_format: str = "audio/pcm"
    output_format: str = "audio/pcm"

    def to_json(self, *, session_id: str, model: str, expires_at: int) -> dict[str, Any]:
        """The session object of ``session.created`` and ``session.updated``."""
        heard: dict[str, Any] | None = None
        if self.is_transcribed:
            language = self.transcription_language
            heard = {"model": model} | ({"language": language} if language else {})
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": session_id,
            "model": model,
            "expires_at": expires_at,
            "output_modalities": [self.modality],
            "instructions": self.instructions,
            "tools": [],
            "tool_choice": "auto",
            "max_output_tokens": tokens_to_json(self.max_output_tokens),
            "tracing": None,
            "truncation": "auto",
            "prompt": None,
            "include": None,
            "audio": {
                "input": {
                    "format": FORMATS[self.input_format].to_json(),
                    "transcription": heard,
                    "noise_reduction": None,
                    "turn_detection": self.turn_detection.to_json() if self.turn_detection else None,
                },
                "output": {"format": FORMATS[self.output_format].to_json(), "voice": self.voice, "speed": 1.0},
            },
        }


def updated(settings: Settings, fields: Fields, voices: Sequence[str]) -> Settings:
    """``settings`` with the ``session`` of a ``session.update`` laid over.

    Raises:
        Refusal: a field of the wrong type or value, an unknown one, or one that this server can't serve.
    """
    kind = fields.choice("type", ("realtime", "transcription"))
    if kind == "transcription":
        message = "Transcription sessions are not served: use a realtime session with audio.input.transcription."
        raise Refusal(message, code="unsupported_parameter", param="session.type")
    settings = replace(settings, **reply_changes(fields, voices))
    audio = fields.object("audio")
    if audio:
        audio.ignore("output")
        heard = audio.object("input")
        if heard:
            settings = replace(settings, **input_changes(heard, settings))
            heard.end()
        audio.end()
    fields.ignore("model", "tracing", "truncation", "id", "object", "expires_at", "client_secret")
    fields.refuse("include", "log probabilities are not told", unless=(None, []))
    fields.end()
    return settings


def reply_changes(fields: Fields, voices: Sequence[str]) -> dict[str, Any]:
    """What a session and a single reply have in common: modality, instructions, tokens, voice, format."""
    changes: dict[str, Any] = {}
    if fields.raw("output_modalities") is not None:
        changes["modality"] = modality(fields)
    if fields.raw("instructions") is not None:
        changes["instructions"] = fields.text("instructions", longest=LONGEST_INSTRUCTIONS)
    if "max_output_tokens" in fields:
        limit = fields.raw("max_output_tokens")
        is_open = limit is None or limit == "inf"
        changes["max_output_tokens"] = None if is_open else fields.integer("max_output_tokens", low=1, high=MOST_TOKENS)
    fields.refuse("tools", "the model calls no tools; send none", unless=(None, []))
    fields.refuse("tool_choice", "the model calls no tools", unless=(None, "auto", "none"))
    fields.refuse("prompt", "prompt templates are not kept here; send instructions")
    fields.ignore("reasoning", "parallel_tool_calls")
    audio = fields.object("audio")
    spoken = audio.object("output") if audio else None
    if spoken:
        if spoken.raw("voice") is not None:
            changes["voice"] = voice(spoken, voices)
        if "format" in spoken:
            changes["output_format"] = wire_format(spoken)
        spoken.refuse("speed", "speech has the speed that the model gives it", unless=(None, 1, 1.0))
        spoken.end()
    return changes


def modality(fields: Fields) -> str:
    """The one modality of ``output_modalities``; audio brings its transcript along."""
    value = fields.raw("output_modalities")
    if not isinstance(value, list) or len(value) != 1 or value[0] not in MODALITIES:
        raise fields.bad("output_modalities", repr(value)[:80], '["audio"] or ["text"]')
    return str(value[0])


def voice(fields: Fields, voices: Sequence[str]) -> str:
    """A voice by name or as ``{"id": name}``; ``default`` and OpenAI's names stand for the server's first."""
    is_named = isinstance(fields.raw("voice"), dict)
    name = Fields(fields.raw("voice"), fields.name("voice")).text("id") if is_named else fields.text("voice")
    if name in voices:
        return name
    if name in DEFAULT_VOICES:
        return voices[0]
    raise fields.bad("voice", repr(name[:80]), "one of " + ", ".join(map(repr, voices)))


def wire_format(fields: Fields) -> str:
    """The name of an audio format."""
    wanted = fields.object("format")
    if wanted is None:
        return "audio/pcm"
    kind = wanted.choice("type", tuple(FORMATS), "audio/pcm")
    rate = FORMATS[kind].rate
    wanted.integer("rate", rate, low=rate, high=rate)
    wanted.end()
    return kind


def input_changes(fields: Fields, settings: Settings) -> dict[str, Any]:
    """What ``session.audio.input`` changes."""
    changes: dict[str, Any] = {}
    if "format" in fields:
        changes["input_format"] = wire_format(fields)
    fields.refuse("noise_reduction", "sound is heard as it is; send null")
    if "transcription" in fields:
        heard = fields.object("transcription")
        changes["is_transcribed"] = heard is not None
        changes["transcription_language"] = heard.optional_text("language", longest=16) if heard else None
        if heard:
            heard.ignore("model", "prompt", "delay", "keywords", "languages")
            heard.end()
    if "turn_detection" in fields:
        detection = fields.object("turn_detection")
        changes["turn_detection"] = server_vad(detection, settings.turn_detection) if detection else None
    return changes


def server_vad(fields: Fields, before: ServerVad | None) -> ServerVad:
    """Turn detection; fields that are not there stay as they were."""
    kind = fields.choice("type", ("server_vad", "semantic_vad"), "server_vad")
    if kind != "server_vad":
        message = "Semantic turn detection is not served: use server_vad, or null and commit yourself."
        raise Refusal(message, code="unsupported_parameter", param=fields.name("type"))
    was = before or ServerVad()
    detection = ServerVad(
        threshold=fields.number("threshold", was.threshold, low=0.0, high=1.0),
        prefix_padding_ms=fields.integer("prefix_padding_ms", was.prefix_padding_ms, low=0, high=5_000),
        silence_duration_ms=fields.integer("silence_duration_ms", was.silence_duration_ms, low=100, high=10_000),
        create_response=fields.boolean("create_response", was.create_response),
        interrupt_response=fields.boolean("interrupt_response", was.interrupt_response),
    )
    fields.refuse("idle_timeout_ms", "the server does not speak unasked")
    fields.end()
    return detection


def tokens_to_json(limit: int | None) -> int | str:
    """A limit of tokens as the protocol writes it."""
    return "inf" if limit is None else limit


def read_reply(
    fields: Fields | None, settings: Settings, voices: Sequence[str]
) -> tuple[Settings, dict[str, str] | None]:
    """The settings of one reply, and the client's metadata: ``response`` of a ``response.create`` over the session's.

    Raises:
        Refusal: a field of the wrong type or value, an unknown one, or one that this server can't serve.
    """
    if fields is None:
        return settings, None
    settings = replace(settings, **reply_changes(fields, voices))
    audio = fields.object("audio")
    if audio:
        audio.ignore("output")
        audio.end()
    fields.refuse("conversation", "replies outside the conversation are not served", unless=(None, "auto"))
    fields.refuse("input", "a reply is always to the whole conversation; create items instead")
    metadata = fields.raw("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and len(metadata) <= 16
        and all(isinstance(value, str) and len(value) <= 512 and len(key) <= 64 for key, value in metadata.items())
    ):
        raise fields.bad("metadata", "something else", "up to 16 strings of up to 512 characters")
    fields.end()
    return settings, metadata
