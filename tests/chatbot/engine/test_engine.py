from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatbot.engine.backends.builtin import BuiltinContext
from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine, NoFreeConversationError
from chatbot.engine.events import AudioDelta, Event, ReplyDone, TextDelta, TranscriptDelta
from chatbot.engine.options import EngineOptions, ReplyOptions
from chatbot.engine.turn_encoder import AudioBacklogError
from corpus.audio.background import make_background
from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import read_reply
from lm.data.reply_format import ReplyState
from lm.inference.batching import GenerationRequest
from runtime.errors import UserError

from ..conftest import babble  # noqa: TID252
from .offline import OfflineDialogue

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


def test_silence_before_a_question_is_not_heard(bundle: Bundle) -> None:
    question = (babble(1, 1.5) * np.repeat((1.0, 0.03), 1600)[np.arange(24_000) % 3200]).astype(np.float32)

    async def test() -> None:
        async with running(bundle) as engine:
            told = []
            for seconds in (0.5, 2.0):
                conversation = engine.open()
                silent = np.concatenate([np.zeros(round(seconds * SAMPLE_RATE), np.float32), question])
                told.append(await asked(conversation, silent))
                whole = engine.open()
                heard = await whole.add_audio(silent)
                assert heard.seconds == pytest.approx(seconds + 1.5)
                assert [conversation.messages[0].ids] == [message.ids for message in whole.messages]
                conversation.close()
                whole.close()
            np.testing.assert_array_equal(told[0].audio, told[1].audio)
        async with running(changed(bundle, kept_silence=None)) as engine:
            conversation = engine.open()
            await asked(conversation, silent)
            assert len(conversation.messages[0].ids) > 3.5 * 12.5

    run(test)


SILENCE = np.zeros(2 * SAMPLE_RATE, np.float32)


@pytest.mark.parametrize("kept_silence", [0.2, None])
def test_nobody_speaks_and_nothing_is_answered(bundle: Bundle, kept_silence: float | None) -> None:
    async def test() -> None:
        async with running(changed(bundle, remembered_turns=2, kept_silence=kept_silence)) as engine:
            conversation, other = engine.open(), engine.open()
            for told in (await asked(conversation, SILENCE), await asked(conversation, SILENCE)):
                assert (told.done.status, told.done.reason) == ("completed", "no_speech")
                assert not told.text and not told.transcript and not len(told.audio)
            assert (await conversation.add_audio(SILENCE)).tokens == 0
            assert not any(message.ids for message in conversation.messages)
            assert (await engine.transcribe(SILENCE)).text == "" != (await engine.transcribe(QUESTIONS[1])).text
            for question in QUESTIONS[1:3]:  # silence leaves no trace in the dialogue
                told, plain = await asked(conversation, question), await asked(other, question)
                np.testing.assert_array_equal(told.audio, plain.audio)
                assert (await asked(conversation, SILENCE)).done.reason == "no_speech"
            read = [message.ids for message in conversation.messages if message.ids]
            assert read == [message.ids for message in other.messages]
            assert conversation._context.ids == other._context.ids

    run(test)


def test_a_question_before_silence_is_answered(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle) as engine:
            conversation, other = engine.open(), engine.open()
            for each in (conversation, other):
                each.add_text("user", "what is the capital of france")
            told = await asked(conversation, SILENCE)
            assert told.text == Told([event async for event in other.respond()]).text

    run(test)


def test_noise_is_not_answered_by_the_settings_alone(bundle: Bundle) -> None:
    pytest.importorskip("silero_vad", reason="silero-vad is not installed")
    noise = make_background("fan", seed=1, seconds=1.5, level_db=-20)

    async def test() -> None:
        for threshold in (0.6, 0.0):
            async with running(changed(bundle, min_speech_probability=threshold)) as engine:
                told = await asked(engine.open(), noise)
                assert (told.done.reason == "no_speech") == bool(threshold)

    run(test)


def test_everything_is_answered_where_detection_is_off(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(changed(bundle, min_speech_probability=0.0)) as engine:
            told = await asked(engine.open(), SILENCE)
            assert told.done.reason != "no_speech" and len(told.audio)

    run(test)


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
            broken.append(talkers[1]._turn._stream.cache)
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


def test_what_is_heard_during_a_reply_is_read_after_it(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle) as engine:
            conversation, other = engine.open(), engine.open()
            conversation.feed(QUESTIONS[0])
            await conversation.commit()
            async for _ in conversation.respond():
                if conversation.queued_seconds == 0 and not conversation._turn.codes:
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
