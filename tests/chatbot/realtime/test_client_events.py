"""What a client may send, and what it is told about the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.realtime.client_events import AudioAppend, ItemTruncate, read_client_event
from chatbot.realtime.items import make_item
from chatbot.realtime.refusal import Refusal
from chatbot.realtime.settings import Settings, response_settings, updated
from tests.support.realtime_events import check_server_event

VOICES = ["anna", "bert"]
CREATE = "conversation.item.create"


def item_of(content: Any, **fields: Any) -> dict[str, Any]:
    item = {"type": "message", "role": "user", "content": content} | fields
    return {"type": CREATE, "item": item}


def session_of(**fields: Any) -> dict[str, Any]:
    return {"type": "session.update", "session": {"type": "realtime"} | fields}


def read(message: Any) -> None:
    """Everything that is checked before the engine is asked."""
    event = read_client_event(message if isinstance(message, str | bytes) else json.dumps(message))
    if hasattr(event, "session"):
        updated(Settings(voice="anna"), event.session, VOICES)
    if hasattr(event, "response"):
        response_settings(event.response, Settings(voice="anna"), VOICES)
    if hasattr(event, "item"):
        make_item(event.item, "audio/pcm", 2.0)


WRONG = [
    (b"\x00\x01", "invalid_message", None),
    ("", "invalid_json", None),
    ("{", "invalid_json", None),
    ("[" * 100_000, "invalid_json", None),
    ("[]", "invalid_type", None),
    ("null", "invalid_type", None),
    ({}, "missing_required_parameter", "type"),
    ({"type": 3}, "invalid_type", "type"),
    ({"type": "response.audio"}, "invalid_value", "type"),
    ({"type": "response.cancel", "event_id": 7}, "invalid_type", "event_id"),
    ({"type": "response.cancel", "extra": 1}, "unknown_parameter", "extra"),
    ({"type": "input_audio_buffer.append"}, "missing_required_parameter", "audio"),
    ({"type": "input_audio_buffer.append", "audio": [1]}, "invalid_type", "audio"),
    ({"type": "output_audio_buffer.clear"}, "unsupported_event", "type"),
    ({"type": "conversation.item.truncate", "item_id": "a"}, "missing_required_parameter", "content_index"),
    (
        {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, "audio_end_ms": -1},
        "invalid_value",
        "audio_end_ms",
    ),
    (
        {"type": "conversation.item.truncate", "item_id": "a", "content_index": True, "audio_end_ms": 1},
        "invalid_type",
        "content_index",
    ),
    ({"type": "session.update"}, "missing_required_parameter", "session"),
    ({"type": "session.update", "session": {}}, "missing_required_parameter", "session.type"),
    ({"type": "session.update", "session": {"type": "transcription"}}, "unsupported_parameter", "session.type"),
    (session_of(modalities=["text"]), "unknown_parameter", "session.modalities"),
    (session_of(output_modalities=["audio", "text"]), "invalid_value", "session.output_modalities"),
    (session_of(output_modalities="audio"), "invalid_value", "session.output_modalities"),
    (session_of(instructions=5), "invalid_type", "session.instructions"),
    (session_of(instructions="x" * 20_000), "invalid_value", "session.instructions"),
    (session_of(max_output_tokens=0), "invalid_value", "session.max_output_tokens"),
    (session_of(max_output_tokens="many"), "invalid_type", "session.max_output_tokens"),
    (session_of(tools=[{"type": "function"}]), "unsupported_parameter", "session.tools"),
    (session_of(tool_choice="required"), "unsupported_parameter", "session.tool_choice"),
    (session_of(prompt={"id": "p"}), "unsupported_parameter", "session.prompt"),
    (session_of(audio=[]), "invalid_type", "session.audio"),
    (session_of(audio={"output": {"voice": "nobody"}}), "invalid_value", "session.audio.output.voice"),
    (session_of(audio={"output": {"speed": 1.5}}), "unsupported_parameter", "session.audio.output.speed"),
    (
        session_of(audio={"input": {"format": {"type": "audio/pcm", "rate": 16000}}}),
        "invalid_value",
        "session.audio.input.format.rate",
    ),
    (
        session_of(audio={"input": {"format": {"type": "audio/mp3"}}}),
        "invalid_value",
        "session.audio.input.format.type",
    ),
    (
        session_of(audio={"input": {"turn_detection": {"type": "semantic_vad"}}}),
        "unsupported_parameter",
        "session.audio.input.turn_detection.type",
    ),
    (
        session_of(audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 2}}}),
        "invalid_value",
        "session.audio.input.turn_detection.threshold",
    ),
    (
        session_of(audio={"input": {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}}),
        "unsupported_parameter",
        "session.audio.input.turn_detection.idle_timeout_ms",
    ),
    (
        session_of(audio={"input": {"noise_reduction": {"type": "near_field"}}}),
        "unsupported_parameter",
        "session.audio.input.noise_reduction",
    ),
    ({"type": "response.create", "response": {"input": []}}, "unsupported_parameter", "response.input"),
    (
        {"type": "response.create", "response": {"conversation": "none"}},
        "unsupported_parameter",
        "response.conversation",
    ),
    ({"type": "response.create", "response": {"metadata": {"a": 1}}}, "invalid_value", "response.metadata"),
    ({"type": CREATE}, "missing_required_parameter", "item"),
    ({"type": CREATE, "item": {"type": "function_call"}}, "unsupported_parameter", "item.type"),
    (item_of([], role="robot"), "invalid_value", "item.role"),
    (item_of([]), "invalid_value", "item.content"),
    (item_of({"type": "input_text"}), "invalid_type", "item.content"),
    (item_of([{"type": "input_image", "image_url": "data:"}]), "invalid_value", "item.content[0].type"),
    (item_of([{"type": "input_text", "text": " "}]), "invalid_value", "item.content[0].text"),
    (item_of([{"type": "input_audio", "audio": "%%%%"}]), "invalid_audio", "item.content[0].audio"),
    (item_of([{"type": "input_audio", "audio": "AAAA"}]), "invalid_audio", "item.content[0].audio"),
    (item_of([{"type": "input_audio", "audio": "AAAA" * 40_000}]), "invalid_value", "item.content[0].audio"),
    (
        item_of([{"type": "output_audio", "transcript": "hi"}], role="assistant"),
        "invalid_value",
        "item.content[0].type",
    ),
    (item_of([{"type": "input_text", "text": "a"}], id="i" * 99), "invalid_value", "item.id"),
    # Half of a surrogate pair, as JavaScript writes a string that was cut within an emoji.
    (item_of([{"type": "input_text", "text": "a \ud83d"}]), "invalid_value", "item.content[0].text"),
    ({"type": "response.cancel", "event_id": "\udc00"}, "invalid_value", "event_id"),
    ({"type": "response.cancel", "\ud800": 1}, "invalid_value", "\\ud800"),
]


def test_fields_that_ask_for_nothing_are_accepted() -> None:
    """Null of any field, known or not: SDKs send all fields of their types."""
    content = [{"type": "input_text", "text": "a \U0001f600", "audio": None, "transcript": None, "of_tomorrow": None}]
    read(item_of(content, id=None, object=None, phase=None))
    read(session_of(include=None, tools=[], tool_choice="auto", max_output_tokens="inf", of_tomorrow=None, audio=None))
    read(session_of(audio={"input": {"turn_detection": {"type": "server_vad", "eagerness": None}}}))
    read({"type": "response.create", "event_id": None, "response": {"conversation": "auto", "input": None}})


@pytest.mark.parametrize(("message", "code", "param"), WRONG, ids=[str(n) for n in range(len(WRONG))])
def test_what_is_wrong_is_named(message: Any, code: str, param: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        read(message)
    assert (caught.value.code, caught.value.param) == (code, param)
    check_server_event({"type": "error", "event_id": "e", "error": caught.value.to_json()})


def test_a_refusal_names_the_event() -> None:
    with pytest.raises(Refusal) as caught:
        read({"type": "response.cancel", "event_id": "mine", "extra": 1})
    assert caught.value.event_id == "mine"


def test_events_are_read() -> None:
    assert read_client_event('{"type":"input_audio_buffer.append","audio":"AAA=","event_id":"e"}') == AudioAppend(
        type="input_audio_buffer.append", event_id="e", audio="AAA="
    )
    message = {"type": "conversation.item.truncate", "item_id": "i", "content_index": 0, "audio_end_ms": 40}
    assert read_client_event(json.dumps(message)) == ItemTruncate(
        type="conversation.item.truncate", item_id="i", content_index=0, audio_end_ms=40
    )


SCALARS = st.sampled_from([None, True, 0, -1, 10**30, 0.5, float("nan"), "", "audio/pcm", "server_vad", "message", []])
NAMES = st.sampled_from(
    ["audio", "input", "output", "format", "type", "voice", "turn_detection", "threshold", "content", "role", "tools"]
) | st.sampled_from(
    ["item", "text", "instructions", "max_output_tokens", "output_modalities", "metadata", "session", "response"]
)
TYPES = st.sampled_from(["session.update", "response.create", CREATE, "conversation.item.truncate", "response.cancel"])
OBJECTS = st.recursive(SCALARS, lambda inner: st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)


@settings(max_examples=100, deadline=None)
@given(TYPES, st.dictionaries(NAMES, OBJECTS, max_size=5))
def test_whatever_comes_is_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    try:
        read({**fields, "type": kind})
    except Refusal as refusal:
        check_server_event({"type": "error", "event_id": "e", "error": refusal.to_json()})
