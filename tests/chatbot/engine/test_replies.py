"""Replies of an engine: equal to the offline ones, in their format, spoken and written, as far as remembered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import numpy as np
import pytest

from chatbot.engine.backends.builtin import BuiltinContext
from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.engine import Engine
from chatbot.engine.events import AudioDelta, TextDelta
from chatbot.engine.options import ReplyOptions
from corpus.audio.files import Samples
from lm.data.formats import read_reply
from lm.data.reply_format import ReplyState
from lm.inference.batching import GenerationRequest
from runtime.errors import UserError

from .conftest import QUESTIONS, Told, asked, changed, run, running
from .offline import OfflineDialogue


def test_streamed_dialogue_equals_the_offline_one(bundle: Bundle) -> None:
    remembering = changed(bundle, remembered_turns=2, max_text_tokens=8, max_reply_seconds=1.2)

    async def test() -> None:
        offline = OfflineDialogue(remembering)
        async with running(remembering) as engine:
            conversation = engine.open()
            for number, question in enumerate(QUESTIONS):
                told, answer = await asked(conversation, question, piece=700 + 900 * number), offline.answer(question)
                assert (told.transcript, told.text) == (answer.heard, answer.said)
                assert (told.done.transcript, told.done.text) == (answer.heard, answer.said)
                assert told.done.usage.output_audio == len(answer.codes)
                assert (told.done.status == "incomplete") == answer.is_cut
                assert told.audio.shape == answer.audio.shape
                np.testing.assert_allclose(told.audio, answer.audio, atol=1e-4)

    run(test)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "streaming", "text_block": 3, "speech_block": 5},
        {"format": "streaming", "text_block": 2, "speech_block": 4, "transcribe_first": False},
        {"format": "speech", "transcribe_first": False},
        {"transcribe_first": False},
    ],
)
@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_replies_keep_to_the_format(bundle: Bundle, changes: dict[str, object], temperature: float) -> None:
    formatted = changed(bundle, remembered_turns=3, max_text_tokens=12, max_reply_seconds=1.6, **changes)
    v = formatted.vocabulary

    async def test() -> None:
        async with running(formatted) as engine:
            conversation = engine.open()
            for number, question in enumerate(QUESTIONS[:3]):
                told = await asked(conversation, question, temperature=temperature, seed=number)
                ids = conversation.messages[-1].ids
                said = read_reply(ids[1:], v)
                assert (said.text, said.transcript or "") == (told.text, told.transcript)
                assert len(told.audio) == 1280 * len(said.speech)
                assert told.done.usage.output_audio == len(said.speech) <= formatted.max_speech_tokens
                assert v.is_text(ids).sum() <= 24
                state = ReplyState(formatted.reply_format, v)
                for id in ids[1:] if said.text or changes.get("format") else []:  # an empty text is none of the format
                    state.push(id)
            assert (await asked(conversation, question, seed=7)).done.status != "failed"

    run(test)


def test_streamed_speech_comes_before_the_text_is_whole(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    formatted = changed(bundle, format="streaming", text_block=1, speech_block=10, max_text_tokens=9)
    generate = BuiltinContext.generate

    async def test() -> None:
        async with running(formatted) as engine:

            async def thoughtful(context: BuiltinContext, ask: GenerationRequest) -> AsyncGenerator[int]:
                """As a language model that is slower than the decoder: the next token comes when all is spoken."""
                async with aclosing(generate(context, ask)) as made:
                    async for id in made:
                        yield id
                        await asyncio.sleep(0)  # the token is handed to the decoder
                        await engine.models.decoder_worker.run(lambda: None, due=float("inf"))

            monkeypatch.setattr(BuiltinContext, "generate", thoughtful)
            num_early = 0
            for seed in range(6):
                conversation = engine.open()
                conversation.feed(QUESTIONS[1])
                await conversation.commit()
                kinds = [type(event) async for event in conversation.respond(ReplyOptions(temperature=1.0, seed=seed))]
                conversation.close()
                last_text = len(kinds) - 1 - kinds[::-1].index(TextDelta)
                num_early += AudioDelta in kinds[:last_text]
            assert num_early > 0  # it is the model's choice to write on

    run(test)


def test_typed_questions_and_text_only_replies(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(changed(bundle, remembered_turns=4, max_text_tokens=8)) as engine:
            conversation = engine.open()
            conversation.add_text("system", "be kind")  # kept from a model that knows no system prompts
            conversation.add_text("user", "hello")
            conversation.add_text("assistant", "good day")
            conversation.add_text("user", "what is the capital of france")
            told = Told([event async for event in conversation.respond(ReplyOptions(has_audio=False))])
            assert (told.transcript, len(told.audio)) == ("", 0)
            assert told.done.usage.input_text == len(
                bundle.vocabulary.encode_text("hello")
                + bundle.vocabulary.encode_text("good day")
                + bundle.vocabulary.encode_text("what is the capital of france")
            )
            assert bundle.vocabulary.special("system") not in conversation._context.ids
            silent = Told([event async for event in conversation.respond(ReplyOptions(has_text=False, max_tokens=9))])
            assert silent.text == "" != silent.done.text
            assert (silent.done.status, silent.done.reason) == ("incomplete", "max_tokens")
            assert silent.done.usage.output_text + silent.done.usage.output_audio <= 9
            with pytest.raises(UserError, match="neither text nor audio"):
                await anext(conversation.respond(ReplyOptions(has_audio=False, has_text=False)))

    run(test)


def test_transcriptions_and_texts_read_aloud(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle, max_jobs=2) as engine:
            texts = ["the capital", "of france is paris", "hello"]
            together = await asyncio.gather(*(read_aloud(engine, text) for text in texts))
            for text, audio in zip(texts, together, strict=True):
                again = await read_aloud(engine, text)
                assert again.shape == audio.shape
                np.testing.assert_allclose(again, audio, atol=1e-4)
            heard = await asyncio.gather(*(engine.transcribe(question) for question in QUESTIONS))
            assert heard == [await engine.transcribe(question) for question in QUESTIONS]
            with pytest.raises(UserError, match="nothing to say"):
                await read_aloud(engine, " ")
            started = engine.speak(texts[1])
            await anext(started)
            await started.aclose()
            assert len(engine.models.backend._free) == engine.models.backend._sequences.num_rows  # type: ignore[attr-defined]

    run(test)


async def read_aloud(engine: Engine, text: str) -> Samples:
    return np.concatenate([samples async for samples in engine.speak(text)])


def test_the_dialogue_is_remembered_as_far_as_asked(bundle: Bundle) -> None:
    remembering = changed(bundle, remembered_turns=2, max_text_tokens=4, max_reply_seconds=0.4)

    async def test() -> None:
        async with running(remembering) as engine:
            conversation, late = engine.open(), engine.open()
            for question in QUESTIONS[:4]:
                await asked(conversation, question)
            late.messages = conversation.messages[2:]  # without the first turn
            assert late._visible(late.messages[-6:]) == conversation._visible(conversation.messages)
            assert (await asked(late, QUESTIONS[4])).text == (await asked(conversation, QUESTIONS[4])).text

    run(test)
