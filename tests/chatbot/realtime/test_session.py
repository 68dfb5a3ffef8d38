"""A session over tiny models, without a socket: questions and replies in order, in writing, in telephone sound."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine, NoFreeConversationError
from chatbot.engine.options import EngineOptions
from chatbot.realtime.options import RealtimeOptions
from chatbot.realtime.outbox import Outbox
from chatbot.realtime.session import RealtimeSession

from .conftest import (
    COMMIT,
    HEARD,
    REPLY,
    WHOLE,
    Opener,
    append,
    error,
    kinds,
    run,
    sound,
    speech,
    written,
)


def test_a_spoken_turn_tells_everything_in_order(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.set(audio={"input": {"transcription": {"model": "whisper-1"}}})
            events = await client.ask()
            told = kinds(events)
            assert told[:4] == [
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "response.created",
            ]
            assert told[-6:] == [
                "response.output_audio.done",
                "response.output_audio_transcript.done",
                "response.content_part.done",
                "conversation.item.done",
                "response.output_item.done",
                "response.done",
            ]
            question, answer = events[0]["item_id"], events[-1]["response"]["output"][0]["id"]
            assert events[0]["previous_item_id"] is None and question != answer
            added = next(e for e in events if e["type"] == "conversation.item.added" and e["item"]["id"] == answer)
            assert added["previous_item_id"] == question
            heard = [e for e in events if e["type"].startswith(HEARD)]
            assert {e["item_id"] for e in heard} == {question}
            assert "".join(e["delta"] for e in heard[:-1]) == heard[-1]["transcript"]
            assert heard[-1]["usage"] == {"type": "duration", "seconds": 0.6}
            said = "".join(e["delta"] for e in events if e["type"] == "response.output_audio_transcript.delta")
            assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == said
            used = events[-1]["response"]["usage"]
            assert used["input_token_details"]["audio_tokens"] == 8
            assert abs(len(speech(events)) / 48000 - used["output_token_details"]["audio_tokens"] * 0.08) < 0.1
            ids = [event["event_id"] for event in client.events]
            assert len(set(ids)) == len(ids)
            second = await client.ask()
            assert second[0]["previous_item_id"] == answer

    run(scenario)


def test_the_same_question_gets_the_same_answer_however_it_comes(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            whole = await client.ask(0.9)
            item = {"type": "message", "role": "user", "content": [append(sound(0.9)) | {"type": "input_audio"}]}
            client.session.items.delete(whole[-1]["response"]["output"][0]["id"])
            client.session.items.delete(whole[0]["item_id"])
            assert client.session.conversation.messages == []
            await client.say({"type": "conversation.item.create", "item": item}, REPLY)
            once = await client.until("response.done")
            assert speech(once) == speech(whole) != b""
            for event in (*once, *whole):
                if event["type"] == "conversation.item.added" and event["item"]["role"] == "user":
                    await client.say({"type": "conversation.item.delete", "item_id": event["item"]["id"]})
            data = sound(0.9)
            for begin in range(0, len(data), 2048):
                await client.say(append(data[begin : begin + 2048]))

    run(scenario)


def test_typed_messages_are_answered_in_writing(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.set(output_modalities=["text"], instructions="be brief", max_output_tokens=5)
            await client.say(written("the capital", "system"), written("name the capital of france"), REPLY)
            events = await client.until("response.done")
            assert speech(events) == b""
            response = events[-1]["response"]
            assert response["status"] == "incomplete" and response["usage"]["output_tokens"] <= 5
            text = next(e["text"] for e in events if e["type"] == "response.output_text.done")
            assert text == response["output"][0]["content"][0]["text"] != ""
            await client.say({"type": "response.create", "response": {"output_modalities": ["audio"]}})
            spoken = (await client.until("response.done"))[-1]["response"]
            assert spoken["output_modalities"] == ["audio"]

    run(scenario)


def test_telephone_sound_in_and_out(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            form = {"format": {"type": "audio/pcmu"}}
            await client.set(audio={"input": form | {"turn_detection": None}, "output": form})
            bytes_of_half_a_second = bytes(range(256)) * 16
            await client.say(append(bytes_of_half_a_second[:4000]), COMMIT, REPLY)
            events = await client.until("response.done")
            part = next(iter(client.session.items)).parts[0]
            assert part.seconds == pytest.approx(0.5)
            tokens = events[-1]["response"]["usage"]["output_token_details"]["audio_tokens"]
            assert abs(len(speech(events)) / 8000 - tokens * 0.08) < 0.1

    run(scenario)


@pytest.mark.parametrize("kind", ["audio/pcm", "audio/pcmu"])
def test_audio_may_be_cut_within_a_sample(room: Opener, kind: str) -> None:
    """Pieces of any number of bytes are the speech that the whole is."""

    async def scenario() -> None:
        rng = np.random.default_rng(0)
        data = rng.integers(0, 256, 20_000, dtype=np.uint8).tobytes() if kind == "audio/pcmu" else sound(0.5)
        cuts = [0, *sorted(rng.integers(1, len(data), 7).tolist()), len(data)]
        pieces = [data[begin:end] for begin, end in itertools.pairwise(cuts)]
        assert kind == "audio/pcmu" or any(len(piece) % 2 for piece in pieces)
        heard = []
        for parts in ([data], pieces):
            async with room() as client:
                await client.set(audio={"input": {"format": {"type": kind}}})
                await client.say(*[append(part) for part in parts], COMMIT)
                item_id = (await client.until("conversation.item.done"))[-1]["item"]["id"]
                (item,) = [item for item in client.session.items if item.id == item_id]
                heard.append(item.parts[0].samples())
        np.testing.assert_array_equal(heard[0], heard[1])

    run(scenario)


def test_what_can_not_be_heard_is_refused_and_forgotten(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.say(COMMIT)
            assert (await error(client))["code"] == "input_audio_buffer_commit_empty"
            await client.say(append(sound(0.05)), COMMIT)
            assert "50.00ms" in (await error(client))["message"]
            await client.say({"type": "input_audio_buffer.append", "audio": "%"})
            assert (await error(client))["code"] == "invalid_audio"
            await client.say({"type": "input_audio_buffer.clear"})
            assert (await client.until("input_audio_buffer.cleared"))[-1]["event_id"]
            longest = client.engine.limits.max_question_seconds
            for _ in range(int(longest) + 2):
                await client.say(append(sound(1.0)))
            await client.say(COMMIT, REPLY)
            assert "speak at most" in (await error(client))["message"]
            assert (await error(client))["code"] == "conversation_empty"
            assert list(client.session.items) == []
            assert (await client.ask())[-1]["response"]["status"] in WHOLE

    run(scenario)


def test_speech_that_was_cleared_is_not_heard(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            plain = speech(await client.ask(0.7))
        async with room() as client:
            await client.say(append(sound(1.3)), {"type": "input_audio_buffer.clear"})
            assert speech(await client.ask(0.7)) == plain

    run(scenario)


def test_a_full_engine_takes_no_session(bundle: Bundle) -> None:
    async def scenario() -> None:
        engine = Engine(bundle, EngineOptions(max_talkers=1))
        first = RealtimeSession(engine, RealtimeOptions(), Outbox(4))
        with pytest.raises(NoFreeConversationError):
            RealtimeSession(engine, RealtimeOptions(), Outbox(4))
        first.close()
        RealtimeSession(engine, RealtimeOptions(), Outbox(4)).close()
        await engine.close(0)

    run(scenario)
