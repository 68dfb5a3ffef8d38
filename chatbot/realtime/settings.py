"""Settings of a session, and the changes that ``session.update`` and ``response.create`` make to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from chatbot.engine.vad import TurnOptions
from chatbot.engine.voices import find_voice

from .client_events import AudioFormat, InputAudioOptions, ResponseObject, SessionObject, TurnDetection
from .formats import FORMATS
from .refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class ServerVad:
    """Server-side voice activity detection: the end of the user's turn, and the reply to it.

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

    def updated(self, wanted: TurnDetection) -> ServerVad:
        """These options with those that a client names laid over."""
        named = {name: value for name in vars(self) if (value := getattr(wanted, name)) is not None}
        return replace(self, **named)

    def turn_options(self) -> TurnOptions:
        """The options of turn detection."""
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


def updated(settings: Settings, session: SessionObject, voices: Sequence[str]) -> Settings:
    """``settings`` with the fields that a ``session.update`` names laid over.

    Raises:
        Refusal: a voice that there is not.
    """
    changes = response_changes(session, voices, "session")
    if session.audio and session.audio.input:
        changes |= input_changes(session.audio.input, settings)
    return replace(settings, **changes)


def response_settings(response: ResponseObject | None, settings: Settings, voices: Sequence[str]) -> Settings:
    """The settings of one reply: ``response`` of a ``response.create`` laid over the session's.

    Raises:
        Refusal: a voice that there is not.
    """
    return settings if response is None else replace(settings, **response_changes(response, voices, "response"))


def response_changes(wanted: SessionObject | ResponseObject, voices: Sequence[str], path: str) -> dict[str, Any]:
    """Changes of `Settings` that a session and a response have in common; ``path`` is the object's, for errors."""
    changes: dict[str, Any] = {}
    if wanted.output_modalities is not None:
        (changes["modality"],) = wanted.output_modalities
    if wanted.instructions is not None:
        changes["instructions"] = wanted.instructions
    if "max_output_tokens" in wanted.model_fields_set:
        changes["max_output_tokens"] = wanted.max_output_tokens
    output = wanted.audio.output if wanted.audio else None
    if output is not None:
        if output.voice is not None:
            changes["voice"] = voice_named(output.voice.id, voices, f"{path}.audio.output.voice")
        if "format" in output.model_fields_set:
            changes["output_format"] = (output.format or AudioFormat()).name
    return changes


def voice_named(name: str, voices: Sequence[str], param: str) -> str:
    """The engine's voice of a name; a `Refusal` of field ``param`` where there is none."""
    found = find_voice(name, voices)
    if found is not None:
        return found
    raise Refusal.invalid_value(param, repr(name[:80]), f"one of {', '.join(map(repr, voices))}")


def input_changes(wanted: InputAudioOptions, settings: Settings) -> dict[str, Any]:
    """Fields of `Settings` that ``session.audio.input`` changes; those that are there count, null too."""
    changes: dict[str, Any] = {}
    if "format" in wanted.model_fields_set:
        changes["input_format"] = (wanted.format or AudioFormat()).name
    if "transcription" in wanted.model_fields_set:
        changes["is_transcribed"] = wanted.transcription is not None
        changes["transcription_language"] = wanted.transcription.language if wanted.transcription else None
    if "turn_detection" in wanted.model_fields_set:
        before = settings.turn_detection or ServerVad()
        detection = wanted.turn_detection
        changes["turn_detection"] = before.updated(detection) if detection is not None else None
    return changes


def tokens_to_json(limit: int | None) -> int | str:
    """A limit of tokens as the protocol writes it."""
    return "inf" if limit is None else limit
