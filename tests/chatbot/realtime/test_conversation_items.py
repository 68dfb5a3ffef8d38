"""The client's items and the model's messages are one record, whatever is done to it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from .conftest import CANCEL, COMMIT, REPLY, Event, Opener, Room, append, error, run, sound, written

CREATE, DELETE = "conversation.item.create", "conversation.item.delete"


async def read_by_the_model(client: Room, contents: list[tuple[Any, str]]) -> list[int]:
    """The ids that a new conversation of these messages would be read as."""
    fresh = client.engine.open()
    try:
        for role, text in contents:
            fresh.add_text(role, text)
        return fresh._visible(fresh.messages)
    finally:
        fresh.close()


@pytest.mark.parametrize("seed", range(3))
def test_edits_of_any_order_leave_the_conversation_that_the_client_knows(room: Opener, seed: int) -> None:
    async def scenario() -> None:
        rng = random.Random(seed)
        known: list[tuple[str, str, str]] = []  # (id, role, text), as the server's events tell
        async with room(max_items=7) as client:
            for number in range(40):
                names = [name for name, _, _ in known]
                if names and rng.random() < 0.3:
                    name = rng.choice(names)
                    await client.say({"type": DELETE, "item_id": name})
                    await client.until("conversation.item.deleted")
                    known = [each for each in known if each[0] != name]
                else:
                    previous, role = rng.choice([None, "root", *names]), rng.choice(["user", "assistant"])
                    event = written(f"capital {number % 5}", role, id=f"item_{number}")
                    await client.say(event | {"previous_item_id": previous})
                    added = (await client.until("conversation.item.done"))[-1]
                    place = len(known) if previous is None else 0 if previous == "root" else names.index(previous) + 1
                    known.insert(place, (f"item_{number}", role, f"capital {number % 5}"))
                    if len(known) > 7:
                        del known[1 if place == 0 else 0]
                    before = [name for name, _, _ in known]
                    at = before.index(f"item_{number}")
                    assert added["previous_item_id"] == (before[at - 1] if at else None)
                session = client.session
                assert [item.id for item in session.items] == [name for name, _, _ in known]
                wanted = await read_by_the_model(client, [(role, text) for _, role, text in known])
                read = session.conversation._context.ids
                assert read[: len(wanted)] == wanted  # at once, not only at the next reply
                for name, _, text in known:
                    await client.say({"type": "conversation.item.retrieve", "item_id": name})
                    shown = (await client.until("conversation.item.retrieved"))[-1]["item"]
                    assert shown["content"][0]["text"] == text

    run(scenario)


def test_a_message_comes_to_the_front_of_a_full_conversation(room: Opener) -> None:
    async def scenario() -> None:
        async with room(max_items=2) as client:
            for name, previous in (("a", None), ("b", None), ("c", "root")):
                await client.say(written(f"capital {name}", id=name) | {"previous_item_id": previous})
                told = await client.until("conversation.item.done")
            assert told[-1]["previous_item_id"] is None
            assert [item.id for item in client.session.items] == ["c", "b"]

    run(scenario)


def test_of_a_message_with_a_part_that_can_not_be_heard_nothing_stays(room: Opener) -> None:
    async def scenario() -> None:
        async with room() as client:
            await client.say(written("the capital", id="a"))
            await client.until("conversation.item.done")
            before = list(client.session.conversation._context.ids)
            short = append(sound(0.01)) | {"type": "input_audio"}
            content: list[Event] = [{"type": "input_text", "text": "of france"}, short]
            await client.say({"type": CREATE, "item": {"type": "message", "role": "user", "content": content}})
            assert "0.01 s of audio" in (await error(client))["message"]
            assert [item.id for item in client.session.items] == ["a"]
            assert client.session.conversation._context.ids == before

    run(scenario)


@pytest.mark.parametrize("is_whole", [False, True])
def test_a_reply_cancelled_between_its_transcript_and_its_first_word_is_none(room: Opener, is_whole: bool) -> None:
    """Its words wait while the client does not take the transcript; then nobody may get them: there is no item."""

    async def scenario() -> None:
        async with room(outbox_events=1) as client:
            await client.set(audio={"input": {"transcription": {"model": "own"}}})
            asking = asyncio.create_task(client.say(append(sound(0.9)), COMMIT, REPLY))
            await client.until("response.created")
            await asking
            reply = client.session.conversation._reply
            while not (reply and reply.text and (reply._task.done() or not is_whole)):
                await asyncio.sleep(0.01)
                reply = client.session.conversation._reply
            assert not any(item.role == "assistant" and item.ids for item in client.session.items)
            await client.say(CANCEL)
            events = await client.until("response.done")
            assert not any(event["type"].startswith("response.output") for event in events)
            response = events[-1]["response"]
            assert (response["status"], response["output"]) == ("cancelled", [])
            assert [item.role for item in client.session.items] == ["user"]

    run(scenario)
