"""The model's confidence in its replies, and the sentence in the place of a reply that it is unsure of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chatbot.engine.bundle_parts import Bundle
from chatbot.engine.conversation import Conversation
from chatbot.engine.options import ReplyOptions
from lm.data.special_tokens import SpecialToken
from lm.inference.generation import Generator
from runtime.errors import UserError

from ..conftest import babble  # noqa: TID252
from .conftest import Told, asked, changed, run, running

QUESTION = babble(1, 1.2)
SENTENCE = "the capital is rome"


async def typed(conversation: Conversation, text: str, **options: Any) -> Told:
    conversation.add_text("user", text)
    return Told([event async for event in conversation.respond(ReplyOptions(**options))])


def test_confidence_is_the_models_mean_probability_of_its_words(bundle: Bundle) -> None:
    v, generator = bundle.vocabulary, bundle.generator
    assert isinstance(generator, Generator)

    short = changed(bundle, max_text_tokens=5)

    async def test() -> None:
        async with running(short) as engine:
            conversation = engine.open()
            told = await typed(conversation, "the capital of france", has_audio=False, is_scored=True)
            user, reply = (message.ids for message in conversation.messages)
            begin, mark = v.special(SpecialToken.BEGIN_OF_AUDIO), v.special(SpecialToken.USER)
            allowed = [id for id in range(v.size) if v.is_text(id) or id in (begin, mark, v.eos)]
            expected, ids = [], [*user, reply[0]]
            for id in reply[1:]:
                rows = generator.log_probabilities([np.array([*ids, other]) for other in allowed])
                shares = np.exp([row[-1] for row in rows])
                expected.append(shares[allowed.index(id)] / shares.sum())
                ids.append(id)
            assert len(expected) == 5 and told.done.confidence == pytest.approx(np.mean(expected), rel=1e-3)
            plain = await typed(engine.open(), "the capital of france", has_audio=False)
            assert (plain.done.confidence, plain.text) == (None, told.text)

    run(test)


@pytest.mark.parametrize("has_audio", [True, False])
def test_an_unsure_reply_is_replaced_by_the_sentence(bundle: Bundle, has_audio: bool) -> None:
    unsure = changed(bundle, min_confidence=1.0, not_understood=SENTENCE, max_reply_seconds=1.2)

    async def test() -> None:
        async with running(unsure) as engine:
            conversation = engine.open()
            told = await asked(conversation, QUESTION, has_audio=has_audio)
            assert (told.done.is_understood, told.text, told.done.text) == (False, SENTENCE, SENTENCE)
            assert told.transcript and (len(told.audio) > 0) == has_audio
            ids = conversation.messages[-1].ids[conversation.messages[-1].body :]
            words = bundle.vocabulary.encode_text(SENTENCE)
            assert ids[: len(words)] == list(words), "the sentence is what the model has said"
            assert any(map(bundle.vocabulary.is_speech, ids)) == has_audio
            again = await typed(conversation, "what is it", has_audio=has_audio)
            assert (again.done.is_understood, again.text) == (False, SENTENCE)

    run(test)


def test_a_sure_reply_is_as_without_a_threshold(bundle: Bundle) -> None:
    async def test() -> None:
        async with running(bundle) as engine:
            plain = await asked(engine.open(), QUESTION)
        async with running(changed(bundle, min_confidence=1e-9)) as engine:
            sure = await asked(engine.open(), QUESTION)
        assert (sure.text, sure.transcript, sure.done.is_understood) == (plain.text, plain.transcript, True)
        np.testing.assert_array_equal(sure.audio, plain.audio)
        assert 0 < (sure.done.confidence or 0) < 1 and plain.done.confidence is None

    run(test)


@pytest.mark.parametrize("kind", ["streaming", "speech"])
def test_only_text_before_speech_can_be_replaced(bundle: Bundle, kind: str) -> None:
    with pytest.raises(UserError, match=r"reply\.min_confidence"):
        changed(bundle, min_confidence=0.5, format=kind, transcribe_first=False)
