"""Turns that a session finds by itself, and replies that are interrupted or cancelled."""

from __future__ import annotations

import asyncio

import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.events import ReplyDone
from chatbot.engine.options import EngineOptions
from chatbot.engine.speech_detector import load_network

from .conftest import (
    CANCEL,
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
)


def test_the_server_finds_the_turns_and_answers_them(room: Opener) -> None:
    async def scenario() -> None:
        async with room(is_manual=False) as client:
            quiet, loud = sound(0.8, loud=False), sound(0.7)
            data = quiet + loud + quiet
            for begin in range(0, len(data), 4800):
                await client.say(append(data[begin : begin + 4800]))
            told = await client.until("response.done")
            assert kinds(told)[:6] == [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "response.created",
            ]
            assert len({event["item_id"] for event in told[:3]}) == 1
            assert 400 <= told[0]["audio_start_ms"] <= 600 and 1500 <= told[1]["audio_end_ms"] <= 1700
            part = next(iter(client.session.items)).parts[0]
            assert 1.0 <= part.seconds <= 1.2  # padding, speech, a little silence
            detection = {"type": "server_vad", "create_response": False}
            await client.set(audio={"input": {"turn_detection": detection, "transcription": {"model": "own"}}})
            await client.say(append(quiet + loud + quiet))
            told = await client.until(f"{HEARD}.completed")
            assert "response.created" not in kinds(told)  # it was written down although nobody replied

    run(scenario)


def test_a_silent_turn_has_an_empty_transcript_and_no_reply(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.set(audio={"input": {"transcription": {"model": "own"}}})
            await client.say(append(sound(1.0, loud=False)), COMMIT, REPLY)
            told = await client.until("response.done")
            assert sorted(kinds(told)) == sorted(
                [
                    "input_audio_buffer.committed",
                    "conversation.item.added",
                    "conversation.item.done",
                    f"{HEARD}.completed",
                    "response.created",
                    "response.done",
                ]
            )
            (heard,) = (event for event in told if event["type"] == f"{HEARD}.completed")
            (added,) = (event for event in told if event["type"] == "conversation.item.added")
            assert heard["transcript"] == "" == added["item"]["content"][0]["transcript"]
            response = told[-1]["response"]
            assert (response["status"], response["output"], response["usage"]["total_tokens"]) == ("completed", [], 0)
            assert (await client.ask())[-1]["response"]["output"]

    run(scenario)


def test_noise_that_turn_detection_takes_for_a_turn_is_not_answered(
    room: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("silero_vad", reason="silero-vad is not installed")

    async def scenario() -> None:
        async with room(is_manual=False) as client:
            reply = client.engine.bundle.settings.reply
            monkeypatch.setattr(reply, "min_speech_probability", 0.6)
            client.engine.models.speech_network = load_network()
            client.session.conversation.clear()  # the next turn is listened to anew
            await client.set(audio={"input": {"transcription": {"model": "own"}}})
            quiet, loud = sound(0.8, loud=False), sound(1.0)
            await client.say(append(quiet + loud + quiet))
            told = await client.until(f"{HEARD}.completed")
            assert told[-1]["transcript"] == "" and "input_audio_buffer.speech_stopped" in kinds(told)
            await client.say({"type": "conversation.item.retrieve", "item_id": told[-1]["item_id"]})
            assert "response.created" not in kinds(await client.until("conversation.item.retrieved"))

    run(scenario)


@pytest.mark.parametrize("is_interrupting", [True, False])
def test_speech_interrupts_a_reply_if_it_may(room: Opener, is_interrupting: bool) -> None:
    async def scenario() -> None:
        async with room(is_manual=False, outbox_events=6) as client:
            detection = {"type": "server_vad", "interrupt_response": is_interrupting}
            await client.set(audio={"input": {"turn_detection": detection}})
            quiet, loud = sound(0.8, loud=False), sound(1.0)  # answered at length by these models
            await client.say(append(quiet + loud + quiet))
            await client.until("response.created")
            first = client.session.speaker.reply
            assert first is not None
            while first.sent_samples == 0:  # the outbox is full of the reply, which waits to go on
                await client.hear()
            saying = asyncio.create_task(client.say(append(loud + quiet)))
            await client.until("input_audio_buffer.speech_started")
            if not is_interrupting:
                assert (await error(client))["code"] == "conversation_already_has_active_response"
                done = (await client.until("response.done"))[-1]["response"]
                assert (done["id"], done["status"] in WHOLE) == (first.id, True)
                assert (await client.until("input_audio_buffer.committed"))[-1]["previous_item_id"] == first.item.id
                await saying
                return
            rest = await client.until("response.done")
            done = rest[-1]["response"]
            assert (done["id"], done["status"]) == (first.id, "cancelled")
            assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
            assert speech(rest) == b""
            heard = sum(len(speech([event])) for event in client.events) / 48000
            assert first.seconds == pytest.approx(heard, abs=0.02)
            second = await client.until("response.done")
            await saying
            assert second[-1]["response"]["status"] in WHOLE

    run(scenario)


def test_a_reply_is_cancelled_by_the_client(room: Opener) -> None:
    async def scenario() -> None:
        async with room(outbox_events=6) as client:
            await client.say(CANCEL)
            assert (await error(client))["code"] == "response_cancel_not_active"
            asking = asyncio.create_task(client.say(append(sound(0.6)), COMMIT, REPLY, REPLY))
            assert (await error(client))["code"] == "conversation_already_has_active_response"
            await asking
            cancelling = asyncio.create_task(client.say(CANCEL))
            done = (await client.until("response.done"))[-1]["response"]
            await cancelling
            assert (done["status"], done["status_details"]["reason"]) == ("cancelled", "client_cancelled")
            assert (await client.ask())[-1]["response"]["status"] in WHOLE

    run(scenario)


def test_a_cancelled_reply_that_has_not_begun_says_nothing(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.say(append(sound(0.6)), COMMIT, REPLY, CANCEL)
            told = await client.until("response.done")
            assert told[-1]["response"]["status"] == "cancelled"
            assert (await client.ask())[-1]["response"]["status"] in WHOLE

    run(scenario)


def test_a_reply_cancelled_in_the_moment_it_begins_ends(bundle: Bundle) -> None:
    async def scenario() -> None:
        engine = Engine(bundle, EngineOptions(max_talkers=1))
        conversation = engine.open()
        conversation.add_text("user", "name the capital of france")
        first = asyncio.create_task(anext(conversation.respond()))
        asyncio.get_running_loop().call_soon(conversation.cancel)  # after the reply's task is made, before it runs
        done = await first
        assert isinstance(done, ReplyDone) and done.status == "cancelled"
        await engine.close(0)

    run(scenario)
