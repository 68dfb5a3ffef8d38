"""Items of a session's dialogue: edited, cut to what was heard, shown as they were sent, forgotten when old."""

from __future__ import annotations

import numpy as np

from chatbot.engine.pcm import decode_base64

from .conftest import (
    COMMIT,
    Opener,
    append,
    error,
    kinds,
    run,
    speech,
    written,
)


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
