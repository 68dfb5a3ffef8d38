"""Conversations with a model that hears vectors and writes: its answers are the language model's own, read aloud."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.context_window import Message
from chatbot.engine.conversation import Conversation
from chatbot.engine.engine import Engine
from chatbot.engine.hearing import VectorHearing
from chatbot.engine.options import ReplyOptions
from chatbot.engine.silence import without_silence
from corpus.audio.files import SAMPLE_RATE, Samples
from lm.data.formats import asr_prompt, chat_prompt
from lm.inference.listening_model import HeardPrompt, ListeningModel
from runtime.errors import UserError

from ..conftest import babble  # noqa: TID252
from .conftest import QUESTIONS, Told, asked, run, running

TYPED = "What is the capital of France?"


@pytest.fixture(scope="module", params=["whole", "streamed"])
def folder(hearing_chain: Path, request: pytest.FixtureRequest) -> Path:
    return hearing_chain / str(request.param)


@pytest.fixture(scope="module")
def hearing(folder: Path) -> Bundle:
    return Bundle.from_pretrained(folder / "bundle")


class OfflineListener:
    """The dialogue as `ListeningModel.generate` goes on with it, from the exported model itself."""

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self.model = ListeningModel.from_pretrained(folder / "lm")
        self.bundle, self.turns = bundle, list[tuple[np.ndarray, list[torch.Tensor]]]()

    def answer(self, *parts: str | Samples) -> str:
        v, reply = self.model.vocabulary, self.bundle.settings.reply
        clips = self.model.hear(
            [without_silence(part, reply.kept_silence) for part in parts if not isinstance(part, str)]
        )
        left = iter(clips)
        said = [
            reply.as_learnt(part) if isinstance(part, str) else self.model.placeholders(next(left)) for part in parts
        ]
        self.turns.append((chat_prompt(said, v), clips))
        kept = self.turns[-1 - reply.remembered_turns :]
        prompt = HeardPrompt(np.concatenate([row for row, _ in kept]), [clip for _, one in kept for clip in one])
        (made,) = self.model.generate([prompt], max_new_tokens=reply.max_text_tokens, stop=v.end_ids)
        written = made[:-1] if made[-1] in v.end_ids else made
        self.turns[-1] = (np.concatenate([self.turns[-1][0], written]), clips)
        return v.decode_text(written)


async def told_of(conversation: Conversation, *parts: str | Samples) -> Told:
    message = Message(role="user")
    await conversation.encode(message, list(parts))
    conversation.insert(message)
    return Told([event async for event in conversation.respond()])


async def until_all_is_given_back(engine: Engine) -> None:
    """Wait until no vector is in use."""
    hearing = engine.models.hearing
    assert isinstance(hearing, VectorHearing)
    while hearing.vectors.num_lent:
        await asyncio.sleep(0.01)


def test_answers_are_those_of_the_listening_model(folder: Path, hearing: Bundle) -> None:
    """Spoken, typed and mixed turns, with two turns remembered; and every vector is given back."""
    parts: list[tuple[str | Samples, ...]] = [
        (QUESTIONS[1],),
        (TYPED,),
        ("Say this again:", QUESTIONS[2]),
        (QUESTIONS[4], TYPED, QUESTIONS[0]),
        (QUESTIONS[3],),
    ]
    offline = OfflineListener(folder, hearing)
    wanted = [offline.answer(*one) for one in parts]
    assert len(set(wanted)) == len(wanted)

    async def test() -> None:
        async with running(hearing) as engine:
            conversation = engine.open()
            told = [await told_of(conversation, *one) for one in parts]
            assert [one.text for one in told] == wanted == [one.done.text for one in told]
            assert not any(one.transcript for one in told)
            usage = told[0].done.usage
            rate = hearing.settings.hearing.positions_per_second  # type: ignore[union-attr]
            assert usage.input_audio == -(-len(QUESTIONS[1]) * rate // SAMPLE_RATE)
            assert usage.output_text <= hearing.settings.reply.max_text_tokens and not usage.input_text
            assert usage.output_audio == round(len(told[0].audio) / engine.sample_rate * 12.5)
            conversation.close()
            await until_all_is_given_back(engine)

    run(test)


def test_speech_in_pieces_is_heard_as_in_whole(folder: Path, hearing: Bundle) -> None:
    """A streaming encoder's vectors are read while the user speaks, and are those of the whole clip."""

    async def test() -> None:
        async with running(hearing) as engine:
            own = engine.models.hearing
            assert isinstance(own, VectorHearing)
            whole, pieces = engine.open(), engine.open()
            for question in (QUESTIONS[1], QUESTIONS[4]):
                expected = await told_of(whole, question)
                for start in range(0, len(question), 1000):
                    pieces.feed(question[start : start + 1000])
                while pieces.queued_seconds:
                    await asyncio.sleep(0.01)
                is_lent = own.vectors.is_lent(np.array(pieces._turn.ids))
                assert len(is_lent) > 4 if folder.name == "streamed" else not len(is_lent)
                assert pieces._context.ids[len(pieces._context.ids) - len(is_lent) :] == pieces._turn.ids
                await pieces.commit()
                rows = [np.array(one.messages[-1 if one is pieces else -2].ids) for one in (whole, pieces)]
                spans = [own.vectors.rows(row[own.vectors.is_lent(row)]) for row in rows]
                torch.testing.assert_close(spans[1], spans[0], atol=1e-5, rtol=1e-4)
                told = Told([event async for event in pieces.respond()])
                assert told.text == expected.text
                np.testing.assert_array_equal(told.audio, expected.audio)

    run(test)


def test_four_talkers_at_once_are_answered_as_alone(hearing: Bundle) -> None:
    async def dialogue(engine: Engine, number: int) -> list[Told]:
        conversation = engine.open()
        told = [await asked(conversation, QUESTIONS[(number + turn) % 4 + 1]) for turn in range(2)]
        conversation.close()
        return told

    async def test() -> None:
        async with running(hearing, max_talkers=4) as engine:
            alone = [await dialogue(engine, number) for number in range(4)]
            together = await asyncio.gather(*(dialogue(engine, number) for number in range(4)))
            assert len({one.text for told in alone for one in told}) > 4
            for one, other in zip(alone, together, strict=True):
                for left, right in zip(one, other, strict=True):
                    assert left.text == right.text
                    np.testing.assert_array_equal(left.audio, right.audio)
            await until_all_is_given_back(engine)

    run(test)


def test_a_clip_in_place_of_another_is_read_anew(hearing: Bundle) -> None:
    """Two clips of one length have ids alike once one is gone, and are not taken for each other."""
    first, second = babble(20, 1.0), babble(21, 1.0)

    async def test() -> None:
        async with running(hearing) as engine:
            conversation, other = engine.open(), engine.open()
            told = await told_of(conversation, first)
            before = conversation.messages[0].ids
            for message in list(conversation.messages):
                conversation.remove(message)
            other.close()
            await until_all_is_given_back(engine)
            again = await told_of(conversation, second)
            assert sorted(conversation.messages[0].ids) == sorted(before)
            fresh = await told_of(engine.open(), second)
            assert again.text == fresh.text != told.text

    run(test)


def test_a_reply_is_read_by_the_reader(hearing: Bundle) -> None:
    async def test() -> None:
        async with running(hearing) as engine:
            told = await told_of(engine.open(), QUESTIONS[1])
            spoken = [block async for block in engine.speak(told.text)]
            np.testing.assert_array_equal(told.audio, np.concatenate(spoken))
            assert len(told.audio) and told.done.timings.first_audio is not None
            written = engine.open()
            await written.add_audio(QUESTIONS[1])
            quiet = Told([event async for event in written.respond(ReplyOptions(has_audio=False))])
            assert quiet.text == told.text and not len(quiet.audio) and not quiet.done.usage.output_audio

    run(test)


def test_a_model_that_knows_the_task_transcribes(folder: Path, hearing: Bundle) -> None:
    """As the exported model does; one that is not said to know it refuses."""
    told = hearing.settings.hearing
    assert told is not None
    settings = replace(hearing.settings, hearing=replace(told, transcribes=True))
    able = Bundle(None, hearing.generator, hearing.decoder, settings, hearing.reader, hearing.hearing)
    offline = OfflineListener(folder, hearing).model
    clips = offline.hear([without_silence(QUESTIONS[1], settings.reply.kept_silence)])
    prompt = HeardPrompt(asr_prompt(offline.placeholders(clips[0]), offline.vocabulary), clips)
    most = 8 + len(clips[0])
    (made,) = offline.generate([prompt], max_new_tokens=most, stop=[offline.vocabulary.eos])

    async def test() -> None:
        async with running(able) as engine:
            transcript = await engine.transcribe(QUESTIONS[1])
            assert transcript.text == offline.vocabulary.decode_text(made) != ""
            assert transcript.usage.input_audio == len(clips[0])
            await until_all_is_given_back(engine)
        async with running(hearing) as engine:
            assert not engine.has_transcripts
            with pytest.raises(UserError, match="writes no transcripts"):
                await engine.transcribe(QUESTIONS[1])

    run(test)


def test_a_model_that_writes_the_transcript_first(folder: Path, hearing: Bundle) -> None:
    settings = replace(hearing.settings, reply=replace(hearing.settings.reply, transcribe_first=True))
    writing = Bundle(None, hearing.generator, hearing.decoder, settings, hearing.reader, hearing.hearing)
    offline = OfflineListener(folder, hearing).model
    v = offline.vocabulary
    clips = offline.hear([without_silence(QUESTIONS[1], settings.reply.kept_silence)])
    row = np.append(chat_prompt(offline.placeholders(clips[0]), v), np.int32(v.special("transcript")))
    stop = [v.special("assistant")]
    (made,) = offline.generate([HeardPrompt(row, clips)], max_new_tokens=12, stop=stop)

    async def test() -> None:
        async with running(writing) as engine:
            assert engine.has_transcripts and not engine.can_transcribe
            spoken, typed = await asked(engine.open(), QUESTIONS[1]), await told_of(engine.open(), TYPED)
            assert spoken.transcript == v.decode_text(made) != "" != spoken.text
            assert not typed.transcript and typed.text

    run(test)


def test_nobody_speaks(hearing: Bundle) -> None:
    silence = np.zeros(SAMPLE_RATE, np.float32)

    async def test() -> None:
        async with running(hearing) as engine:
            conversation = engine.open()
            assert (await asked(conversation, silence)).done.reason == "no_speech"
            assert (await conversation.add_audio(silence)).tokens == 0
            told, plain = await asked(conversation, QUESTIONS[1]), await asked(engine.open(), QUESTIONS[1])
            assert told.text == plain.text
            conversation.feed(QUESTIONS[2])
            conversation.clear()
            assert (await asked(conversation, silence)).done.reason == "no_speech"

    run(test)
