"""A session over tiny models: every event of the protocol, without a socket."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine, NoFreeConversationError
from chatbot.engine.events import ReplyDone
from chatbot.engine.options import EngineOptions
from chatbot.engine.pcm import decode_base64
from chatbot.engine.speech_detector import load_network
from chatbot.realtime.options import RealtimeOptions
from chatbot.realtime.outbox import Outbox
from chatbot.realtime.session import RealtimeSession

from .conftest import PATIENCE, Event, Opener, Room, append, sound

COMMIT, REPLY, CANCEL = {"type": "input_audio_buffer.commit"}, {"type": "response.create"}, {"type": "response.cancel"}
WHOLE = ("completed", "incomplete")  # a model of random weights seldom ends by itself
HEARD = "conversation.item.input_audio_transcription"


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(limited())


def kinds(events: list[Event]) -> list[str]:
    """Types of events, without the pieces of replies."""
    return [event["type"] for event in events if not event["type"].endswith(".delta")]


def written(text: str, role: str = "user", **fields: Any) -> Event:
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    item = {"type": "message", "role": role, "content": [part]}
    return {"type": "conversation.item.create", "item": item | fields}


def speech(events: list[Event]) -> bytes:
    return b"".join(decode_base64(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")


async def error(room: Room) -> Event:
    return (await room.until("error"))[-1]["error"]


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


def test_the_conversation_can_be_edited_and_the_model_sees_it(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            for name, previous in (("a", None), ("b", None), ("c", "a"), ("d", "root")):
                event = written(f"capital {name}", id=name)
                await client.say(event | ({"previous_item_id": previous} if previous else {}))
                told = await client.until("conversation.item.done")
                assert kinds(told) == ["conversation.item.added", "conversation.item.done"]
                assert told[0]["item"]["id"] == name
            vocabulary = client.engine.bundle.vocabulary

            def seen() -> list[str]:
                return [vocabulary.decode_text(m.ids[1:])[-1] for m in client.session.conversation.messages]

            assert seen() == ["d", "a", "c", "b"]
            await client.say({"type": "conversation.item.delete", "item_id": "a"})
            assert (await client.until("conversation.item.deleted"))[-1]["item_id"] == "a"
            assert seen() == ["d", "c", "b"]
            await client.say({"type": "conversation.item.retrieve", "item_id": "c"})
            item = (await client.until("conversation.item.retrieved"))[-1]["item"]
            assert item["content"] == [{"type": "input_text", "text": "capital c"}]
            await client.say({"type": "conversation.item.delete", "item_id": "a", "event_id": "mine"})
            assert await error(client) | {"message": ""} == {
                "type": "invalid_request_error",
                "code": "item_not_found",
                "message": "",
                "param": "item_id",
                "event_id": "mine",
            }
            await client.say(written("again", id="b"))
            assert (await error(client))["code"] == "item_exists"
            await client.say(written("x") | {"previous_item_id": "nobody"})
            assert (await error(client))["param"] == "previous_item_id"
            assert seen() == ["d", "c", "b"]

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


def test_the_user_s_speech_comes_back_as_it_was_sent(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            t = np.arange(24000) / 24000
            tone = (np.sin(2 * np.pi * 440 * t) * 8000).astype("<i2")
            await client.say(append(tone.tobytes()), COMMIT)
            item_id = (await client.until("conversation.item.done"))[-1]["item"]["id"]
            await client.say({"type": "conversation.item.retrieve", "item_id": item_id})
            shown = (await client.until("conversation.item.retrieved"))[-1]["item"]["content"][0]
            back = np.frombuffer(decode_base64(shown["audio"]), "<i2").astype(float)
            assert abs(len(back) - 24000) <= 2
            np.testing.assert_allclose(back[2000:22000], tone[2000:22000].astype(float), atol=30)

    run(scenario)


def test_after_an_interruption_only_what_was_heard_stays(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            events = await client.ask()
            answer = events[-1]["response"]["output"][0]["id"]
            seconds = len(speech(events)) / 48000
            before = len(client.session.conversation.messages[-1].ids)
            truncate = {"type": "conversation.item.truncate", "item_id": answer, "content_index": 0}
            await client.say(truncate | {"audio_end_ms": int(seconds * 1000) + 500})
            assert (await error(client))["param"] == "audio_end_ms"
            await client.say(truncate | {"audio_end_ms": 100})
            told = (await client.until("conversation.item.truncated"))[-1]
            assert (told["item_id"], told["audio_end_ms"]) == (answer, 100)
            assert len(client.session.conversation.messages[-1].ids) < before
            await client.say(truncate | {"item_id": events[0]["item_id"], "audio_end_ms": 0})
            assert (await error(client))["param"] == "content_index"
            await client.ask()
            await client.say(truncate | {"audio_end_ms": 50})
            assert "Only the last reply" in (await error(client))["message"]

    run(scenario)


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


def test_old_items_are_forgotten_and_so_is_their_speech(room: Opener) -> None:
    async def scenario() -> None:
        async with room(max_items=4, kept_audio_seconds=0.5) as client:
            for _ in range(4):
                await client.ask(0.4)
            items = list(client.session.items)
            assert items == client.session.conversation.messages and len(items) == 4
            kept = [item.parts[0].pcm is not None for item in items if item.role == "user"]
            assert kept == [False, True]

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


OF_A_DIALOGUE = ("chatbot.realtime.", "chatbot.engine.", "decoder.", "tokenizer.", "runtime.streaming.")
# Some of them, which must be seen while a dialogue is held: a law about objects that nobody finds holds of itself.
EXPECTED = ("RealtimeSession", "Conversation", "ReplyTask", "ConversationItems", "TurnListener", "TokenStream")


def dialogue_objects() -> Counter[str]:
    """How many objects there are, by type, of those that belong to one dialogue."""
    kinds = Counter(type(each) for each in gc.get_objects())
    found = {f"{vars(kind)['__module__']}.{kind.__name__}": kinds[kind] for kind in kinds if "__module__" in vars(kind)}
    return Counter({name: count for name, count in found.items() if name.startswith(OF_A_DIALOGUE)})


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_a_dialogue_that_ends_takes_all_it_held_along_without_the_cycle_collector(
    bundle: Bundle, is_interrupted: bool
) -> None:
    seen: set[str] = set()

    async def hold_dialogue(engine: Engine) -> None:
        """Two turns, found by the turn detector."""
        outbox = Outbox(64)
        session = RealtimeSession(engine, RealtimeOptions(), outbox)
        room = Room(engine, session, outbox)
        work = asyncio.create_task(session.work())
        await room.say(append(sound(0.5, loud=False)))
        for _ in range(2):
            await room.say(append(sound(0.8)), append(sound(1.0, loud=False)))
            await room.until("response.output_audio.delta")
            seen.update(name.rpartition(".")[2] for name in dialogue_objects())
            if not is_interrupted:
                await room.until("response.done")
        session.close()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    async def scenario() -> None:
        engine = Engine(bundle, EngineOptions(max_talkers=1))
        gc.collect()
        gc.disable()
        before = dialogue_objects()
        try:
            await hold_dialogue(engine)
            for _ in range(1000):  # a worker's thread lets go of a job just after it has handed over the result
                if not dialogue_objects() - before:
                    break
                await asyncio.sleep(0.01)
            assert dialogue_objects() - before == Counter()
            assert seen >= set(EXPECTED)
        finally:
            gc.enable()
        await engine.close(0)

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
