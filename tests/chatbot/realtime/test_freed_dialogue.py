"""The memory of a dialogue, which ends with it without the cycle collector."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.options import EngineOptions
from chatbot.realtime.options import RealtimeOptions
from chatbot.realtime.outbox import Outbox
from chatbot.realtime.session import RealtimeSession

from .conftest import (
    Room,
    append,
    run,
    sound,
)

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
