"""Documents of dialogues: every format, typed questions, and history within a budget."""

from __future__ import annotations

import numpy as np
import pytest

from chatbot.data.dialogue_files import Dialogue, DialogueTurn
from chatbot.data.lm_documents import DialogueDocuments
from lm.data.formats import ChatTurn, chat_document
from lm.data.rendering import render
from lm.data.reply_format import ReplyFormat

from ..conftest import make_vocabulary  # noqa: TID252

V = make_vocabulary("abc")
CODES = np.array([3, 4, 5, 6], dtype=np.uint16)


def spoken(number: int, num_turns: int = 1, text: str = "what is the capital") -> Dialogue:
    question = DialogueTurn(role="user", text=text, tokens=CODES)
    reply = DialogueTurn(role="assistant", text="the capital", tokens=CODES)
    return Dialogue(id=str(number), turns=[question, reply] * num_turns)


def make(**options: object) -> DialogueDocuments:
    return DialogueDocuments(V, **{"format": ReplyFormat(transcribes=True)} | options)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["text_guided", "streaming", "speech"])
def test_dialogues_become_documents_of_the_format(kind: str) -> None:
    format = ReplyFormat(kind=kind, transcribes=kind != "speech", text_block=1, speech_block=2)
    (document,) = make(format=format, system="the capital").documents([spoken(0, num_turns=2)])
    transcript = "what is the capital" if kind != "speech" else None
    turns = [ChatTurn(CODES, "the capital", CODES, transcript)] * 2
    np.testing.assert_array_equal(document, chat_document(turns, V, system="the capital", format=format))


def test_a_share_of_questions_comes_typed_as_well() -> None:
    maker = make(typed_share=0.25)
    documents = list(maker.documents(spoken(number) for number in range(400)))
    typed = [document for document in documents if len(V.codes(document)) == len(CODES)]
    assert 0.2 < len(typed) / len(documents) < 0.3 and maker.made == {"spoken": 400, "typed": len(typed)}
    shown = [render(document, V, num_shown=0) for document in typed]
    questions = {text.split("<|user|>")[1].split("<|")[0].strip() for text in shown}
    assert questions == {"what is the capital"}
    assert all("<|assistant|> the capital <|begin_of_audio|>" in text for text in shown), "without transcript"
    again = list(make(typed_share=0.25).documents(spoken(number) for number in range(400)))
    assert all(np.array_equal(one, other) for one, other in zip(documents, again, strict=True))


def test_it_is_noticed_how_texts_are_written() -> None:
    maker = make()
    list(maker.documents([spoken(0)]))
    assert maker.is_plain
    list(maker.documents([spoken(1, text="What is the capital?"), spoken(2)]))
    assert not maker.is_plain


def test_long_dialogues_are_cut_into_whole_turns() -> None:
    """Each turn is learnt from once; each document is what serving shows at its last turn: as much as fits."""
    (whole,) = make().documents([spoken(0, num_turns=5)])
    system = len(V.encode_text("the capital")) + 1
    turn = (len(whole) - 1) // 5
    for budget, expected in (
        (turn * 5 + system + 1, [5]),
        (turn * 5 + system, [1, 4]),
        (turn * 2 + system + 1, [1, 2, 2]),
    ):
        documents = list(make(max_tokens=budget, system="the capital").documents([spoken(0, num_turns=5)]))
        assert [len(one) for one in documents] == [system + turn * count + 1 for count in expected]
        assert all(render(one, V).startswith("<|system|> the capital <|user|>") for one in documents)
    maker = make(max_tokens=turn)
    assert list(maker.documents([spoken(0, num_turns=2)])) == []
    assert maker.skipped == {"a turn longer than max_tokens": 2}


def test_what_cannot_be_used_is_counted() -> None:
    heard = DialogueTurn(role="user", tokens=CODES)
    silent = DialogueTurn(role="assistant", text="the capital")
    mute = DialogueTurn(role="assistant", tokens=CODES)
    asked = DialogueTurn(role="user", text="what is it")
    pairs = {"no spoken reply": (asked, silent), "a reply without text": (asked, mute)}
    pairs["a question without words to transcribe"] = (heard, spoken(0).turns[1])
    for reason, pair in pairs.items():
        maker = make()
        assert list(maker.documents([Dialogue(id="a", turns=list(pair))])) == []
        assert maker.skipped == {reason: 1}
    maker = make(format=ReplyFormat(kind="streaming", text_block=1, speech_block=9))
    assert not list(maker.documents([spoken(0), spoken(1)])) and maker.skipped == {"speech ends before its text": 2}
