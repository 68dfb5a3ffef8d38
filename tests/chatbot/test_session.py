from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatbot.session import Bundle, ChatSession
from corpus.errors import UserError
from lm.formats import chat_prompt

from .conftest import babble

QUESTIONS = [babble(seed, seconds) for seed, seconds in enumerate((0.5, 2.0, 1.1, 0.3, 1.7))]


@pytest.fixture(scope="module")
def bundle(chain: Path) -> Bundle:
    return Bundle.from_pretrained(chain / "bundle", batch_size=3)


def remembering(bundle: Bundle, **changes: object) -> ChatSession:
    """A session of the same models with other reply settings."""
    import copy

    settings = copy.deepcopy(bundle.settings)
    for name, value in changes.items():
        setattr(settings.reply, name, value)
    return ChatSession(Bundle(bundle.tokenizer, bundle.generator, bundle.decoder, settings))


def test_an_answer_is_text_then_speech(bundle: Bundle) -> None:
    session = remembering(bundle, remembered_turns=1)
    answer = session.answer(QUESTIONS[0])
    assert answer.heard is not None
    assert len(answer.audio) == 1280 * len(answer.tokens)
    assert answer.audio.dtype == np.float32
    assert len(answer.tokens) <= bundle.max_speech_tokens
    (turn,) = session.turns
    v = bundle.vocabulary
    marks = [v.token(int(id)) for id in turn[~v.is_text(turn) & ~v.is_speech(turn)]]
    assert marks == [
        "<|user|>",
        "<|begin_of_audio|>",
        "<|end_of_audio|>",
        "<|assistant|>",
        "<|transcript|>",
        "<|assistant|>",
        "<|begin_of_audio|>",
        "<|end_of_audio|>",
    ]
    (codes,) = bundle.tokenizer.encode([QUESTIONS[0]])
    assert np.array_equal(turn[: len(codes) + 4], chat_prompt(codes, v))
    assert np.array_equal(v.codes(turn), np.concatenate([codes, answer.tokens]))
    transcript, written, speech = (
        np.flatnonzero(turn == v.special(name)) for name in ("transcript", "assistant", "begin_of_audio")
    )
    assert v.decode_text(turn[transcript[0] : written[1]]) == answer.heard
    assert v.decode_text(turn[written[1] : speech[1]]) == answer.said


def test_without_transcript(bundle: Bundle) -> None:
    session = remembering(bundle, transcribe_first=False, remembered_turns=1)
    assert session.answer(QUESTIONS[0]).heard is None
    assert bundle.vocabulary.special("transcript") not in session.turns[0]


def test_many_are_answered_as_one_alone(bundle: Bundle) -> None:
    session = ChatSession(bundle)
    together = session.answer_many(QUESTIONS)
    backwards = session.answer_many(QUESTIONS[::-1])[::-1]
    for question, answer, other in zip(QUESTIONS, together, backwards, strict=True):
        alone = session.answer(question)
        for one in (alone, other):
            assert (one.heard, one.said, one.is_cut) == (answer.heard, answer.said, answer.is_cut)
            assert np.array_equal(one.tokens, answer.tokens)
            np.testing.assert_allclose(one.audio, answer.audio, atol=1e-4)
    assert ChatSession(bundle).answer_many([]) == []


def test_limits_hold_and_are_told(bundle: Bundle) -> None:
    session = remembering(bundle, max_reply_seconds=0.16, max_text_tokens=2, remembered_turns=1)
    answer = session.answer(QUESTIONS[1])
    assert len(answer.tokens) <= 2
    assert bundle.vocabulary.is_text(session.turns[0]).sum() <= 4
    assert answer.is_cut


def test_the_dialogue_is_remembered_as_far_as_asked(bundle: Bundle) -> None:
    session = remembering(bundle, remembered_turns=2, max_text_tokens=8, max_reply_seconds=0.5)
    for question in QUESTIONS[:4]:
        session.answer(question)
    assert len(session.turns) == 2
    forgetful = ChatSession(bundle)
    forgetful.answer(QUESTIONS[0])
    assert forgetful.turns == []
    assert forgetful.answer(QUESTIONS[1]).said == ChatSession(bundle).answer(QUESTIONS[1]).said


@pytest.mark.parametrize(("seconds", "words"), [(0.0, "0.00 s of audio"), (0.05, "0.05 s"), (30.0, "at most")])
def test_questions_too_short_or_too_long(bundle: Bundle, seconds: float, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ChatSession(bundle).answer(babble(0, seconds))


def test_limits_beyond_the_model_are_refused(bundle: Bundle) -> None:
    with pytest.raises(UserError, match="in a model of 256 positions"):
        remembering(bundle, max_reply_seconds=60.0)


def test_the_longest_question_allowed_fits(bundle: Bundle) -> None:
    session = remembering(bundle, max_question_seconds=1000.0)
    longest = (session.bundle.max_prompt_tokens - 4) * 1280
    session.answer(babble(3, longest / 16000))
    with pytest.raises(UserError, match="max_question_seconds"):
        session.answer(babble(3, longest / 16000 + 0.01))
