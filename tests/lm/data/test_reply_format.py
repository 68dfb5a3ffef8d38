"""Layouts of replies: truth tables, and that what may come next is just what training documents hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.data.formats import ChatTurn, chat_document, chat_prompt, chat_reply, chat_turn, read_reply, system_row
from lm.data.rendering import render
from lm.data.reply_format import KINDS, ReplyFormat, ReplyState
from lm.data.text_tokenizers import train_bpe
from lm.data.truncation import cut_history, first_kept
from lm.data.vocabulary import build_vocabulary
from runtime.errors import UserError

WORDS = ["the", "capital", "of", "france", "is", "paris", "a", "lion", "sleeps"]
V = build_vocabulary(train_bpe([" ".join(WORDS)] * 6, 400), num_speech_tokens=16, speech_tokenizer="abc")
EOS, USER = V.eos, V.special("user")


def codes(count: int) -> np.ndarray:
    return (np.arange(count) % 16).astype(np.uint16)


def layout(num_text: int, num_speech: int, text_block: int, speech_block: int) -> str:
    """A reply as letters: T text, S speech."""
    format = ReplyFormat(kind="streaming", text_block=text_block, speech_block=speech_block)
    words = " ".join(WORDS[number % len(WORDS)] for number in range(num_text))
    assert len(V.encode_text(words)) == num_text
    row = chat_reply(ChatTurn("a lion", words, codes(num_speech)), V, format)
    assert (V.codes(row) == codes(num_speech)).all() and V.decode_text(row) == words
    return "".join("S" if is_speech else "T" for is_speech in V.is_speech(row))


@pytest.mark.parametrize(
    ("num_text", "num_speech", "blocks", "expected"),
    [
        (1, 1, (2, 3), "TS"),
        (2, 3, (2, 3), "TTSSS"),
        (2, 5, (2, 3), "TTSSSSS"),  # the text is over: the rest is speech
        (3, 5, (2, 3), "TTSSSTSS"),
        (3, 7, (2, 3), "TTSSSTSSSS"),
        (4, 7, (2, 3), "TTSSSTTSSSS"),
        (5, 9, (2, 3), "TTSSSTTSSSTSSS"),
        (20, 45, (13, 26), "T" * 13 + "S" * 26 + "T" * 7 + "S" * 19),
        (26, 70, (13, 26), "T" * 13 + "S" * 26 + "T" * 13 + "S" * 44),
        (3, 4, (5, 1), "TTTSSSS"),
    ],
)
def test_text_and_speech_alternate(num_text: int, num_speech: int, blocks: tuple[int, int], expected: str) -> None:
    assert layout(num_text, num_speech, *blocks) == expected


@pytest.mark.parametrize(("num_text", "num_speech"), [(3, 3), (5, 6), (3, 1)])
def test_text_never_falls_behind(num_text: int, num_speech: int) -> None:
    with pytest.raises(ValueError, match=f"{num_speech} speech tokens end before {num_text} text tokens do, at 2:3"):
        layout(num_text, num_speech, 2, 3)


def next_letters(state: ReplyState) -> str:
    may = state.next
    names = [V.token(mark)[2:-2] for mark in may.marks]
    return " ".join(["T"] * may.text + ["S"] * may.speech + names)


ENDS = "user endoftext"
TABLES = {
    "streaming": ("the capital S S S of S S EOS", [
        "T", "T S", "S", f"S {ENDS}", f"S {ENDS}", f"T S {ENDS}", "T S", f"S {ENDS}", f"S {ENDS}", ""
    ]),
    "streaming, text of a whole block": ("the capital S S S S USER", [
        "T", "T S", "S", f"S {ENDS}", f"S {ENDS}", f"T S {ENDS}", f"S {ENDS}", ""
    ]),
    "text_guided": ("the capital BOA S S EOA EOS", [
        "T", f"T begin_of_audio {ENDS}", f"T begin_of_audio {ENDS}", "S end_of_audio", "S end_of_audio",
        "S end_of_audio", ENDS, ""
    ]),
    "text_guided, transcribed": ("TRANSCRIPT a lion ASSISTANT sleeps EOS", [
        "transcript", "T assistant", "T assistant", "T assistant", "T", f"T begin_of_audio {ENDS}", ""
    ]),
    "streaming, transcribed": ("TRANSCRIPT a lion sleeps ASSISTANT the S EOS", [
        "transcript", "T assistant", "T assistant", "T assistant", "T assistant", "T", "T S", f"S {ENDS}", ""
    ]),
    "speech": ("BOA S EOA USER", ["begin_of_audio", "S end_of_audio", "S end_of_audio", ENDS, ""]),
}  # fmt: skip
MARKS = {"BOA": "begin_of_audio", "EOA": "end_of_audio", "EOS": "endoftext", "USER": "user"}
MARKS |= {"TRANSCRIPT": "transcript", "ASSISTANT": "assistant"}


@pytest.mark.parametrize("name", TABLES)
def test_what_may_come_next(name: str) -> None:
    said, expected = TABLES[name]
    kind, _, more = name.partition(",")
    format = ReplyFormat(kind=kind, transcribes="transcribed" in more, text_block=2, speech_block=3)
    state = ReplyState(format, V)
    found = [next_letters(state)]
    for word in said.split():
        id = int(V.speech_ids([3])[0]) if word == "S" else V.special(MARKS[word]) if word in MARKS else None
        state.push(V.encode_text(word)[0] if id is None else id)
        found.append(next_letters(state))
    assert found == expected
    assert state.part == "over"
    with pytest.raises(ValueError, match=f"may not follow over in a reply of format {kind}"):
        state.push(EOS)


def formats() -> st.SearchStrategy[ReplyFormat]:
    return st.builds(
        lambda kind, transcribes, text, speech: ReplyFormat(
            kind=kind, transcribes=transcribes and kind != "speech", text_block=text, speech_block=speech
        ),
        st.sampled_from(KINDS), st.booleans(), st.integers(1, 4), st.integers(1, 5),
    )  # fmt: skip


@given(formats(), st.integers(1, 12), st.integers(0, 20), st.sampled_from([EOS, USER]))
def test_every_reply_that_is_learnt_may_be_made_and_read_back(
    format: ReplyFormat, num_words: int, further: int, end: int
) -> None:
    words = " ".join(WORDS[number % len(WORDS)] for number in range(num_words))
    speech = codes(num_words // format.text_block * format.speech_block + 1 + further)
    transcript = "a lion" if format.transcribes else None
    row = chat_reply(ChatTurn(codes(3), words, speech, transcript), V, format)
    state = ReplyState(format, V)
    for id in [*row, end]:
        state.push(int(id))
    assert state.part == "over" and state.is_text_over
    read = read_reply(row, V)
    assert (read.text, read.transcript) == ("" if format.kind == "speech" else words, transcript)
    np.testing.assert_array_equal(read.speech, speech)


def test_a_reply_in_the_making_is_read() -> None:
    row = chat_reply(ChatTurn(codes(3), "sleeps", codes(4), "a lion"), V)
    begun = read_reply(row[:2], V)
    assert (begun.text, begun.transcript, len(begun.speech)) == ("", "a", 0)
    assert read_reply([], V).text == ""


def test_direct_replies_need_speech() -> None:
    with pytest.raises(ValueError, match="has no speech"):
        chat_reply(ChatTurn(codes(3), "sleeps"), V, ReplyFormat(kind="speech"))
    with pytest.raises(UserError, match="writes no text"):
        ReplyFormat(kind="speech", transcribes=True)
    with pytest.raises(UserError, match=r"format: found 'both'.*text_guided, streaming, speech"):
        ReplyFormat(kind="both")


def test_system_prompts() -> None:
    format = ReplyFormat(text_block=5, speech_block=7)
    said = format.system_prompt("glm4voice")
    assert "a speech instruction" in said and "with 5 text token followed by 7 audio tokens. " in said
    assert "a text instruction" in format.system_prompt("glm4voice", is_spoken=False)
    assert format.system_prompt("be brief") == "be brief" and format.system_prompt("") == ""


@pytest.mark.parametrize(
    ("lengths", "budget", "first"),
    [([], 5, 0), ([3], 3, 0), ([3], 2, 1), ([5, 3, 2], 10, 0), ([5, 3, 2], 9, 1), ([5, 3, 2], 4, 2), ([1, 1, 9], 8, 3)],
)
def test_whole_turns_are_cut_oldest_first(lengths: list[int], budget: int, first: int) -> None:
    assert first_kept(lengths, budget) == first


def test_the_system_prompt_is_kept() -> None:
    turns = [ChatTurn("a lion", "sleeps"), ChatTurn("the capital", "paris", codes(4)), ChatTurn("france", "is")]
    rows, system = [chat_turn(turn, V) for turn in turns], system_row("of a lion", V)
    whole = cut_history(rows, 1000, system=system)
    np.testing.assert_array_equal(np.append(whole, EOS), chat_document(turns, V, system="of a lion"))
    cut = cut_history(rows, len(whole) - 1, system=system)
    np.testing.assert_array_equal(np.append(cut, EOS), chat_document(turns[1:], V, system="of a lion"))
    assert render(cut_history(rows, 3, system=system), V) == "<|system|> of a lion"
    assert len(cut_history([], 0)) == 0
    prompt = chat_prompt("the capital", V)
    np.testing.assert_array_equal(rows[1][: len(prompt)], prompt)
