"""Conversations of an engine: apart from each other, interrupted, overlapping a reply, and out of bounds."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import NoFreeConversationError
from chatbot.engine.events import AudioDelta, Event, ReplyDone
from chatbot.engine.turn_encoder import AudioBacklogError
from corpus.audio.files import SAMPLE_RATE
from runtime.errors import UserError

from ..conftest import babble  # noqa: TID252
from .conftest import QUESTIONS, Told, asked, changed, run, running


def test_conversations_do_not_hear_each_other(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle, max_talkers=5) as engine:
            alone = []
            for question in QUESTIONS:
                conversation = engine.open()
                alone.append(await asked(conversation, question))
                conversation.close()
            conversations = [engine.open() for _ in QUESTIONS]
            with pytest.raises(NoFreeConversationError):
                engine.open()
            together = await asyncio.gather(
                *(
                    asked(conversation, question)
                    for conversation, question in zip(conversations, QUESTIONS, strict=True)
                )
            )
            for one, other in zip(alone, together, strict=True):
                assert (one.text, one.transcript) == (other.text, other.transcript)
                assert one.done.usage == other.done.usage
                np.testing.assert_allclose(one.audio, other.audio, atol=1e-4)
            assert engine.load().talkers == 5
        assert engine.load().talkers == 0

    run(test)


def test_a_reply_is_cancelled_and_the_dialogue_goes_on(bundle: Bundle) -> None:
    remembering = changed(bundle, remembered_turns=2)

    async def test() -> None:
        async with running(remembering) as engine:
            conversation = engine.open()
            conversation.feed(QUESTIONS[0])
            await conversation.commit()
            events: list[Event] = []
            async for event in conversation.respond():
                events.append(event)
                if isinstance(event, AudioDelta):
                    with pytest.raises(UserError, match="a reply is being made"):
                        await anext(conversation.respond())
                    conversation.cancel()
            told = Told(events)
            assert (told.done.status, told.num_pieces) == ("cancelled", 1)
            assert not conversation.is_responding
            kept = remembering.vocabulary.is_speech(conversation.messages[-1].ids).sum()
            assert kept == -(-len(told.audio) // 1280)  # every token of which something was handed out
            conversation.truncate(0.08 * 3)
            assert remembering.vocabulary.is_speech(conversation.messages[-1].ids).sum() == 3
            assert (await asked(conversation, QUESTIONS[1])).done.status in ("completed", "incomplete")

    run(test)


def test_a_turn_that_cannot_be_encoded_fails_alone_and_aloud(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit says so, the other talkers are heard, and the next turn is, too."""
    step, broken = bundle.tokenizer.front.step, []

    def fail_for_one(mel_NMF: Any, caches: Any, padding: Any) -> Any:
        if any(cache is one for cache in caches for one in broken):
            raise RuntimeError("no memory left")
        return step(mel_NMF, caches, padding)

    monkeypatch.setattr(bundle.tokenizer.front, "step", fail_for_one)

    async def test() -> None:
        async with running(bundle) as engine:
            alone = engine.open()
            expected = await alone.add_audio(QUESTIONS[1])
            talkers = [engine.open() for _ in range(3)]
            broken.append(talkers[1]._turn._stream.stream.cache)
            for talker in talkers:
                talker.feed(QUESTIONS[1])
            results = await asyncio.gather(*(talker.commit() for talker in talkers), return_exceptions=True)
            assert str(results[1]) == "no memory left"
            assert results[0] == results[2] == expected
            assert talkers[0].messages[0].ids == talkers[2].messages[0].ids == alone.messages[0].ids
            talkers[1].feed(QUESTIONS[1])
            assert await talkers[1].commit() == expected

    run(test)


def test_questions_out_of_bounds(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle, max_waiting_seconds=1.5) as engine:
            conversation = engine.open()
            with pytest.raises(UserError, match="nothing to reply to"):
                await anext(conversation.respond())
            conversation.feed(QUESTIONS[0][:200])
            with pytest.raises(UserError, match=r"0\.01 s of audio"):
                await conversation.commit()
            with pytest.raises(UserError, match="NaN"):
                conversation.feed(np.full(100, np.nan, np.float32))
            conversation.feed(QUESTIONS[2])
            with pytest.raises(AudioBacklogError, match="wait to be heard"):
                conversation.feed(QUESTIONS[2])
            assert (await conversation.commit()).tokens == -(-len(QUESTIONS[2]) // 1280)
            with pytest.raises(UserError, match="choose one of anna, bert"):
                engine.open(voice="carl")
            conversation.close()
            with pytest.raises(UserError, match="closed"):
                conversation.feed(QUESTIONS[0])

    run(test)


def test_what_is_heard_during_a_reply_is_read_after_it(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle) as engine:
            conversation, other = engine.open(), engine.open()
            conversation.feed(QUESTIONS[0])
            await conversation.commit()
            async for _ in conversation.respond():
                if conversation.queued_seconds == 0 and not conversation._turn.ids:
                    conversation.feed(QUESTIONS[1])
            await conversation.commit()
            late = Told([event async for event in conversation.respond()])
            assert late.text == (await asked(other, QUESTIONS[1])).text

    run(test)


def test_a_turn_that_ends_during_a_reply_follows_it(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(changed(bundle, remembered_turns=2)) as engine:
            conversation, other = engine.open(), engine.open()
            await conversation.add_audio(QUESTIONS[0])
            is_early = False
            async for event in conversation.respond():
                if isinstance(event, AudioDelta) and not is_early:
                    conversation.feed(QUESTIONS[1])
                    await conversation.commit()
                    is_early = conversation.is_responding
            assert is_early
            assert [message.role for message in conversation.messages] == ["user", "assistant", "user"]
            await asked(other, QUESTIONS[0])
            told = await asked(other, QUESTIONS[1])
            assert Told([event async for event in conversation.respond()]).text == told.text
            assert conversation._context.ids == other._context.ids

    run(test)


def test_a_reply_that_is_left_is_given_up(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle) as engine:
            conversation, waiting = engine.open(), engine.open()
            for one in (conversation, waiting):
                one.feed(QUESTIONS[0])
                await one.commit()
            events = conversation.respond()
            await anext(events)
            assert engine.load().responding == 1
            await events.aclose()
            assert engine.load().responding == 0
            closing = waiting.respond()
            await anext(closing)
            waiting.close()
            rest = [event async for event in closing]
            assert isinstance(rest[-1], ReplyDone)
            assert rest[-1].status == "cancelled"
            assert engine.load().talkers == 1

    run(test)


def test_the_longest_question_may_come_in_pieces(bundle: Bundle) -> None:
    """Of 20 ms, whose seconds add up to more than the limit that their samples reach."""

    async def test() -> None:
        async with running(bundle) as engine:
            longest = engine.limits.max_question_seconds
            question = babble(3, longest)
            assert sum([0.02] * round(longest * 50)) > longest == len(question) / SAMPLE_RATE
            conversation = engine.open()
            for begin in range(0, len(question), 320):
                conversation.feed(question[begin : begin + 320])
            assert (await conversation.commit()).seconds == longest

    run(test)


def test_settings_beyond_the_model_are_refused_and_the_longest_question_fits(bundle: Bundle) -> None:
    with pytest.raises(UserError, match="in a model of 256 positions"):
        changed(bundle, max_reply_seconds=60.0)
    patient = changed(bundle, max_question_seconds=1000.0)
    samples = (patient.max_prompt_tokens - 4) * 1280

    async def test() -> None:
        async with running(patient) as engine:
            conversation = engine.open()
            assert (await asked(conversation, babble(3, samples / 16000))).done.status in ("completed", "incomplete")
            with pytest.raises(UserError, match="max_question_seconds"):
                await asked(conversation, babble(3, samples / 16000 + 0.01))

    run(test)
