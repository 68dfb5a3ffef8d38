"""Settings of a session: what changes, what stays, how they are told."""

from __future__ import annotations

from typing import Any

import pytest

from chatbot.realtime.client_events import ResponseObject, SessionObject
from chatbot.realtime.settings import ServerVad, Settings, response_settings, updated
from tests.support.realtime_events import check_server_event

VOICES = ["anna", "bert"]


def update(settings: Settings, **fields: Any) -> Settings:
    return updated(settings, SessionObject(**({"type": "realtime"} | fields)), VOICES)


def told(settings: Settings) -> dict[str, Any]:
    session = settings.to_json(session_id="sess_1", model="tiny", expires_at=1)
    check_server_event({"type": "session.updated", "event_id": "e", "session": session})
    return session


def test_an_update_changes_what_it_names_and_nothing_else() -> None:
    first = update(Settings(voice="anna"), instructions="be brief", audio={"output": {"voice": "bert"}})
    assert first == Settings(voice="bert", instructions="be brief")
    second = update(first, audio={"input": {"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}})
    third = update(second, audio={"input": {"turn_detection": {"type": "server_vad", "create_response": False}}})
    assert third.turn_detection == ServerVad(silence_duration_ms=200, create_response=False)
    assert update(third) == third
    assert update(third, audio={"input": {"turn_detection": None}}, instructions="").turn_detection is None
    assert update(third, instructions="").instructions == ""


def test_what_a_session_tells_can_be_sent_back() -> None:
    settings = update(
        Settings(voice="anna"),
        output_modalities=["text"],
        max_output_tokens=7,
        audio={
            "input": {"format": {"type": "audio/pcmu"}, "transcription": {"model": "whisper-1", "language": "en"}},
            "output": {"format": {"type": "audio/pcma"}, "voice": {"id": "bert"}},
        },
    )
    assert settings.is_transcribed and settings.input_format == "audio/pcmu" and settings.voice == "bert"
    session = told(settings)
    assert update(Settings(voice="anna"), **session) == settings
    assert update(settings, max_output_tokens="inf").max_output_tokens is None
    assert told(Settings(voice="anna", turn_detection=None))["audio"]["input"]["turn_detection"] is None


def test_openai_s_voices_stand_for_the_first() -> None:
    assert update(Settings(voice="bert"), audio={"output": {"voice": "marin"}}).voice == "anna"


def test_one_reply_may_differ_from_its_session() -> None:
    session = Settings(voice="anna", instructions="be brief")
    fields = {"output_modalities": ["text"], "audio": {"output": {"voice": "bert"}}, "metadata": {"topic": "x"}}
    response = ResponseObject.model_validate(fields)
    settings = response_settings(response, session, VOICES)
    assert (settings.modality, settings.voice, settings.instructions) == ("text", "bert", "be brief")
    assert response.metadata == {"topic": "x"}
    assert response_settings(None, session, VOICES) == session


def test_the_check_itself_finds_what_is_wrong() -> None:
    session = told(Settings(voice="anna"))
    wrong: list[dict[str, Any]] = [
        {"type": "session.updated", "event_id": "e", "session": session | {"colour": "red"}},
        {"type": "session.updated", "event_id": "e", "session": session | {"output_modalities": "audio"}},
        {"type": "session.updated", "session": session},
        {"type": "input_audio_buffer.cleared", "event_id": 5},
        {"type": "response.audio.delta", "event_id": "e"},
        {"type": "conversation.item.deleted", "event_id": "e", "item_id": "i", "item": {}},
    ]
    for event in wrong:
        with pytest.raises((AssertionError, ValueError)):
            check_server_event(event)
