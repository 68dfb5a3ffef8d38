"""Turns in which nobody speaks: silence is not heard, noise is not answered, and neither leaves a trace."""

from __future__ import annotations

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from corpus.audio.background import make_background
from corpus.audio.files import SAMPLE_RATE

from ..conftest import babble  # noqa: TID252
from .conftest import QUESTIONS, Told, asked, changed, run, running


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
