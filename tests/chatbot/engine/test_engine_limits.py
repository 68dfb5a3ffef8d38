"""Robustness of an engine: time-outs, slow and idle conversations, many turns, an end that waits for nobody."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatbot.engine.backends.builtin import Builtin
from chatbot.engine.engine import Engine
from chatbot.engine.events import AudioDelta, ReplyDone
from chatbot.engine.options import EngineOptions, ReplyOptions
from runtime.errors import UserError

from ..conftest import babble  # noqa: TID252

QUESTION = babble(1, 1.0)


def run(scenario: Callable[[Engine], Coroutine[Any, Any, None]], bundle: Path, **options: Any) -> None:
    async def limited() -> None:
        engine = Engine.from_pretrained(bundle, EngineOptions(**options))
        try:
            async with asyncio.timeout(300):
                await scenario(engine)
        finally:
            await engine.close(grace_seconds=0)

    asyncio.run(limited())


def test_a_reply_that_nobody_takes_stops_being_made_and_is_given_up(chain: Path) -> None:
    async def scenario(engine: Engine) -> None:
        conversation = engine.open()
        await conversation.add_audio(QUESTION)
        events = conversation.respond()
        kept = [await anext(events)]
        assert conversation._reply is not None and conversation._reply._task is not None
        await asyncio.wait([conversation._reply._task])  # the listener is away
        kept += [event async for event in events]
        done = kept[-1]
        assert isinstance(done, ReplyDone)
        assert (done.status, done.reason) == ("failed", "no end after 1 s")
        made = sum(len(event.samples) for event in kept if isinstance(event, AudioDelta)) / engine.sample_rate
        whole = engine.bundle.settings.reply.max_reply_seconds
        assert made < whole
        assert not conversation.is_responding

    run(scenario, chain / "bundle", max_waiting_seconds=0.1, max_reply_seconds=1)


def test_an_idle_conversation_is_closed_and_its_row_is_free(chain: Path) -> None:
    async def scenario(engine: Engine) -> None:
        conversation = engine.open()
        with pytest.raises(UserError, match="1 conversations open"):
            engine.open()
        while engine.load().talkers:
            await asyncio.sleep(0.05)
        with pytest.raises(UserError, match="closed"):
            conversation.feed(QUESTION)
        engine.open().close()

    run(scenario, chain / "bundle", max_talkers=1, max_idle_seconds=0.3)


def test_many_turns_take_no_more_memory(chain: Path) -> None:
    async def scenario(engine: Engine) -> None:
        engine.bundle.settings.reply.remembered_turns = 3
        conversation, sizes = engine.open(), []
        for turn in range(11):
            for start in range(0, len(QUESTION), 3200):
                conversation.feed(QUESTION[start : start + 3200])
            await conversation.commit()
            async for event in conversation.respond(ReplyOptions(max_tokens=20)):
                if turn % 3 == 1 and isinstance(event, AudioDelta):
                    conversation.cancel()
            if turn % 3 == 1:
                conversation.truncate(0.2)
            if turn % 3 == 1:
                await at_rest(engine)
                gc.collect()
                sizes.append(sum(type(one) in (torch.Tensor, asyncio.Queue) for one in gc.get_objects()))
        assert sizes[-1] <= max(sizes[1:3])
        assert len(conversation._context.ids) <= engine.limits.context_tokens
        sequences = engine.models.backend._sequences  # type: ignore[attr-defined]
        assert sequences._cache.length <= engine.limits.context_tokens + 32

    run(scenario, chain / "bundle", max_talkers=1)


async def at_rest(engine: Engine) -> None:
    """Wait until no thread of the engine has anything in its hands."""
    backend = engine.models.backend
    assert isinstance(backend, Builtin)
    while backend._orders or backend._sequences.has_work:
        await asyncio.sleep(0.01)
    is_idle = asyncio.Event()
    loop = asyncio.get_running_loop()
    backend.order(lambda: loop.call_soon_threadsafe(is_idle.set))  # after the step that it may still be at
    await is_idle.wait()
    for worker in (engine.models.tokenizer_worker, engine.models.decoder_worker):
        await worker.run(lambda: None, due=float("inf"))


def test_closing_ends_replies_and_threads(chain: Path) -> None:
    async def scenario(engine: Engine) -> None:
        conversations = [engine.open() for _ in range(3)]
        for conversation in conversations:
            await conversation.add_audio(QUESTION)
        replies = [asyncio.create_task(last(conversation.respond())) for conversation in conversations]
        await asyncio.sleep(0.05)
        hearing = asyncio.create_task(engine.transcribe(QUESTION))
        await engine.close(grace_seconds=0)
        for reply in replies:
            assert isinstance(await reply, ReplyDone)
        outcome = (await asyncio.gather(hearing, return_exceptions=True))[0]
        assert not isinstance(outcome, BaseException) or isinstance(outcome, (UserError, asyncio.CancelledError))
        with pytest.raises(UserError, match="closed"):
            engine.open()
        assert not any(
            worker._thread.is_alive() for worker in (engine.models.tokenizer_worker, engine.models.decoder_worker)
        )

    async def last(events: Any) -> Any:
        return [event async for event in events][-1]

    run(scenario, chain / "bundle")


def test_bad_samples_are_refused_one_by_one(chain: Path) -> None:
    async def scenario(engine: Engine) -> None:
        conversation = engine.open()
        wrongs: list[Any] = [np.zeros((2, 100), np.float32), np.zeros(100, np.int16), np.full(10, np.inf)]
        for wrong in wrongs:
            with pytest.raises(UserError, match="the audio"):
                conversation.feed(wrong)
        conversation.feed(QUESTION)
        assert (await conversation.commit()).seconds == 1.0

    run(scenario, chain / "bundle")
