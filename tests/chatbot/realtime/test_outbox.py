"""Laws of the events that wait for a client."""

from __future__ import annotations

import asyncio

from chatbot.realtime.outbox import Outbox


def test_the_maker_waits_for_the_taker_and_the_order_stays() -> None:
    async def scenario() -> tuple[list[int], int]:
        outbox, most = Outbox(3), 0

        async def make() -> None:
            nonlocal most
            for number in range(20):
                await outbox.emit({"type": "n", "n": number})
                most = max(most, len(outbox))

        making = asyncio.create_task(make())
        await asyncio.sleep(0)
        assert len(outbox) == 3 and not making.done()
        taken = [(await outbox.get())["n"] for _ in range(20)]
        await making
        return taken, most

    taken, most = asyncio.run(scenario())
    assert taken == list(range(20)) and most == 3


def test_events_can_be_taken_back_and_make_room() -> None:
    async def scenario() -> None:
        outbox = Outbox(3)
        for kind in "aba":
            await outbox.emit({"type": kind})
        waiting = asyncio.create_task(outbox.emit({"type": "c"}))
        await asyncio.sleep(0)
        assert not waiting.done()
        assert len(outbox.take_back(lambda event: event["type"] == "a")) == 2
        await waiting
        assert [(await outbox.get())["type"] for _ in range(2)] == ["b", "c"]
        assert outbox.take_back(lambda event: True) == []

    asyncio.run(scenario())
