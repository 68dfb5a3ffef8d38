"""The unpatched openai package against a real server on loopback."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.resources.realtime.realtime import RealtimeConnection

from ..conftest import held  # noqa: TID252
from .conftest import PATIENCE, Server, sound


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    """A client; the server has let go of everybody before and after."""
    wait_until_free(server)
    yield openai.OpenAI(api_key="any", base_url=f"http://127.0.0.1:{server.port}/v1", max_retries=0)
    wait_until_free(server)


def wait_until_free(server: Server) -> None:
    ends = time.monotonic() + PATIENCE
    while server.talkers():
        assert time.monotonic() < ends
        time.sleep(0.01)


def until(connection: RealtimeConnection, kind: str) -> list[Any]:
    events: list[Any] = []
    while not events or events[-1].type != kind:
        events.append(connection.recv())
        assert kind == "error" or events[-1].type != "error", events[-1]
    return events


def say(connection: RealtimeConnection, data: bytes, piece: int = 4800) -> None:
    for begin in range(0, len(data), piece):
        connection.input_audio_buffer.append(audio=base64.b64encode(data[begin : begin + piece]).decode())


def test_a_spoken_dialogue(client: openai.OpenAI) -> None:
    with client.realtime.connect(model="gpt-realtime") as connection:
        session = until(connection, "session.created")[0].session
        assert session.audio.input.turn_detection.type == "server_vad"
        heard = {"turn_detection": None, "transcription": {"model": "whisper-1"}}
        connection.session.update(session={"type": "realtime", "audio": {"input": heard}})
        assert until(connection, "session.updated")[0].session.audio.input.turn_detection is None
        say(connection, sound(0.6))
        connection.input_audio_buffer.commit()
        connection.response.create()
        events = until(connection, "response.done")
        text = "".join(event.delta for event in events if event.type == "response.output_audio_transcript.delta")
        speech = b"".join(
            base64.b64decode(event.delta) for event in events if event.type == "response.output_audio.delta"
        )
        response = events[-1].response
        assert response.output[0].content[0].transcript == text
        assert len(speech) % 2 == 0 and len(speech) > 0
        assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens
        connection.conversation.item.truncate(item_id=response.output[0].id, content_index=0, audio_end_ms=40)
        until(connection, "conversation.item.truncated")


def test_a_typed_message_and_its_edits(client: openai.OpenAI) -> None:
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
        item: Any = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "name the capital"}]}
        connection.conversation.item.create(item=item)
        item_id = until(connection, "conversation.item.done")[-1].item.id
        connection.conversation.item.retrieve(item_id=item_id)
        assert until(connection, "conversation.item.retrieved")[-1].item.content[0].text == "name the capital"
        connection.response.create(response={"max_output_tokens": 4})
        events = until(connection, "response.done")
        text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert text == events[-1].response.output[0].content[0].text
        connection.conversation.item.delete(item_id=item_id)
        assert until(connection, "conversation.item.deleted")[-1].item_id == item_id


def test_the_server_finds_the_end_of_a_turn(client: openai.OpenAI) -> None:
    with client.realtime.connect(model="gpt-realtime") as connection:
        quiet = sound(0.8, loud=False)
        say(connection, quiet + sound(0.7) + quiet)
        kinds = [event.type for event in until(connection, "response.done")]
        found = [kind for kind in kinds if kind.startswith("input_audio_buffer.")]
        assert [kind.rpartition(".")[2] for kind in found] == ["speech_started", "speech_stopped", "committed"]


def test_cancelling_and_mistakes(client: openai.OpenAI, server: Server) -> None:
    with client.realtime.connect(model="gpt-realtime") as connection:
        connection.response.cancel(event_id="mine")
        error = until(connection, "error")[-1].error
        assert (error.type, error.code, error.event_id) == (
            "invalid_request_error",
            "response_cancel_not_active",
            "mine",
        )
        connection.session.update(session={"type": "realtime", "tools": [{"type": "function", "name": "f"}]})
        assert until(connection, "error")[-1].error.param == "session.tools"
        connection.session.update(session={"type": "realtime", "audio": {"input": {"turn_detection": None}}})
        say(connection, sound(0.6))
        connection.input_audio_buffer.commit()
        with held(server.engine.models.decoder_worker):
            connection.response.create()
            connection.response.cancel()
            done = until(connection, "response.done")[-1].response
        assert (done.status, done.status_details.reason) == ("cancelled", "client_cancelled")
        connection.input_audio_buffer.clear()
        until(connection, "input_audio_buffer.cleared")
