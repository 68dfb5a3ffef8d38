"""An engine over tiny models, and what its conversations say."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.events import AudioDelta, Event, ReplyDone, TextDelta, TranscriptDelta
from chatbot.engine.options import EngineOptions, ReplyOptions
from corpus.audio.files import Samples

from ..conftest import babble  # noqa: TID252

QUESTIONS = [babble(seed, seconds) for seed, seconds in enumerate((0.5, 2.0, 1.1, 0.3, 1.7))]


@pytest.fixture(scope="module")
def bundle(chain: Path) -> Bundle:
    return Bundle.from_pretrained(chain / "bundle")


def changed(bundle: Bundle, **changes: object) -> Bundle:
    """The same models with other reply settings."""
    settings = copy.deepcopy(bundle.settings)
    for name, value in changes.items():
        setattr(settings.reply, name, value)
    return Bundle(bundle.tokenizer, bundle.generator, bundle.decoder, settings)


@asynccontextmanager
async def running(bundle: Bundle, **options: Any) -> AsyncGenerator[Engine]:
    engine = Engine(bundle, EngineOptions(**options))
    try:
        yield engine
    finally:
        await engine.close(grace_seconds=0)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(300):
            await test()

    asyncio.run(limited())


class Told:
    """All events of a reply, put together."""

    def __init__(self, events: list[Event]) -> None:
        assert [isinstance(event, ReplyDone) for event in events] == [False] * (len(events) - 1) + [True]
        done = events[-1]
        assert isinstance(done, ReplyDone)
        self.done = done
        self.text = "".join(event.text for event in events if isinstance(event, TextDelta))
        self.transcript = "".join(event.text for event in events if isinstance(event, TranscriptDelta))
        pieces = [event.samples for event in events if isinstance(event, AudioDelta)]
        self.num_pieces = len(pieces)
        self.audio = np.concatenate([np.zeros(0, np.float32), *pieces])


async def asked(conversation: Conversation, audio: Samples, piece: int = 1000, **options: Any) -> Told:
    """Let a conversation hear a question in pieces, and reply."""
    for start in range(0, len(audio), piece):
        conversation.feed(audio[start : start + piece])
        await asyncio.sleep(0)
    await conversation.commit()
    return Told([event async for event in conversation.respond(ReplyOptions(**options))])
