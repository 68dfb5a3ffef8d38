"""Realtime sessions with a model that hears vectors: spoken and typed turns, no transcripts, interruptions, the SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.pcm import encode_pcm16

from .conftest import HEARD, REPLY, WHOLE, Opener, Server, append, error, run, sound, speech, written
from .test_sdk_client import say, until

MANUAL = {"turn_detection": None}


@pytest.fixture(scope="session")
def bundle(hearing_chain: Path) -> Bundle:
    return Bundle.from_pretrained(hearing_chain / "streamed" / "bundle")


@pytest.fixture(scope="module")
def hearing_server(bundle: Bundle) -> Iterator[Server]:
    server = Server(bundle)
    yield server
    server.stop()


def test_a_dialogue_of_spoken_and_typed_turns(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            first = await client.ask(1.0)
            response = first[-1]["response"]
            assert response["status"] in WHOLE and response["output"][0]["content"][0]["transcript"]
            assert speech(first) and response["usage"]["input_token_details"]["audio_tokens"] > 3
            assert not [event for event in first if event["type"].startswith(HEARD)]
            user = next(event["item"] for event in first if event["type"] == "conversation.item.added")
            assert user["content"][0]["transcript"] is None
            await client.say(written("and now?"), REPLY)
            second = (await client.until("response.done"))[-1]["response"]
            assert second["usage"]["input_token_details"]["audio_tokens"] > 3  # the first turn is remembered
            await client.say({"type": "conversation.item.delete", "item_id": user["id"]}, REPLY)
            third = (await client.until("response.done"))[-1]["response"]
            assert third["usage"]["input_token_details"]["audio_tokens"] == 0

    run(scenario)


def test_the_model_reads_while_the_user_speaks(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            syllables = np.repeat([1.0, 0.01] * 5, 4800)
            noise = 0.1 * np.random.default_rng(0).standard_normal(len(syllables)) * syllables
            await client.say(append(encode_pcm16(noise.astype(np.float32))))
            conversation = client.session.conversation
            while conversation.queued_seconds:
                await asyncio.sleep(0.01)
            assert sum(id >= client.engine.bundle.vocabulary.size for id in conversation._context.ids) >= 4
            await client.say({"type": "input_audio_buffer.clear"})
            while any(id >= client.engine.bundle.vocabulary.size for id in conversation._context.ids):
                await asyncio.sleep(0.01)

    run(scenario)


def test_transcripts_are_refused_by_name(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            wanted = {"audio": {"input": {"transcription": {"model": "own"}, "format": {"type": "audio/pcmu"}}}}
            await client.say({"type": "session.update", "session": {"type": "realtime"} | wanted})
            refused = await error(client)
            assert refused["code"] == "unsupported_parameter"
            assert refused["param"] == "session.audio.input.transcription"
            session = await client.set(audio={"input": {"transcription": None}})
            assert session["audio"]["input"]["transcription"] is None
            assert session["audio"]["input"]["format"]["type"] == "audio/pcm"  # nothing of what was refused is taken

    run(scenario)


def test_an_interrupted_reply_keeps_what_was_played(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            events = await client.ask(1.0)
            reply = client.session.conversation.last_reply
            assert reply is not None and reply.readings
            before = list(reply.ids)
            item_id = events[-1]["response"]["output"][0]["id"]
            about = {"item_id": item_id, "content_index": 0}
            await client.say({"type": "conversation.item.truncate", **about, "audio_end_ms": 400})
            await client.until("conversation.item.truncated")
            assert before[: len(reply.ids)] == reply.ids and 1 <= len(reply.ids) < len(before)
            await client.say({"type": "conversation.item.truncate", **about, "audio_end_ms": 0})
            await client.until("conversation.item.truncated")
            assert reply.ids == before[:1]

    run(scenario)


def test_nobody_speaks(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.say(append(sound(1.0, loud=False)), {"type": "input_audio_buffer.commit"}, REPLY)
            events = await client.until("response.done")
            assert events[-1]["response"]["output"] == []
            item = next(event["item"] for event in events if event["type"] == "conversation.item.added")
            assert item["content"][0]["transcript"] == ""

    run(scenario)


def test_the_sdk_asks_in_speech(hearing_server: Server) -> None:
    client = openai.OpenAI(api_key="any", base_url=f"http://127.0.0.1:{hearing_server.port}/v1", max_retries=0)
    with client.realtime.connect(model="any") as connection:
        session: Any = {"type": "realtime", "audio": {"input": MANUAL}}
        connection.session.update(session=session)
        until(connection, "session.updated")
        for seconds in (0.8, 1.5):
            say(connection, sound(seconds))
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, "response.done")
            text = "".join(one.delta for one in events if one.type == "response.output_audio_transcript.delta")
            assert events[-1].response.output[0].content[0].transcript == text != ""
            assert any(one.type == "response.output_audio.delta" for one in events)
