import gc
import sys
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lm.data import formats
from lm.data.formats import ChatTurn, Layout
from lm.data.loss_mask import LOSSES, beginning_of, loss_mask
from lm.data.rendering import render, runs
from lm.data.reply_format import ReplyFormat
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary

BPE = train_bpe(["the capital of france is paris", "a lion sleeps"] * 4, 400)
V = build_vocabulary(BPE, num_speech_tokens=16, speech_tokenizer="abc", speakers=["ann", "bob"])
CODES = np.array([3, 3, 9], dtype=np.uint16)
SIX = np.arange(1, 7, dtype=np.uint16)
STREAMING = ReplyFormat(kind="streaming", text_block=2, speech_block=2)
BOA, EOA, EOS = V.special("begin_of_audio"), V.special("end_of_audio"), V.eos


CHAT = [ChatTurn(CODES, "paris", CODES, transcript="the capital of france"), ChatTurn("a lion", "sleeps")]
LAYOUTS: dict[str, tuple[Layout[...], tuple[object, ...], dict[str, object]]] = {
    "text": (formats.text_document, ("the capital", V), {}),
    "speech": (formats.speech_document, (CODES, V), {}),
    "asr": (formats.asr_document, (CODES, "a lion", V), {}),
    "tts": (formats.tts_document, ("a lion", CODES, "bob", V), {}),
    "interleaved": (formats.interleaved_document, (["the capital ", CODES, " is", CODES], V), {}),
    "chat": (formats.chat_document, (CHAT, V), {}),
    "system": (formats.chat_document, (CHAT[1:], V), {"system": "the lion"}),
    "streaming": (formats.chat_document, ([ChatTurn(CODES, "the capital of france", SIX)], V), {"format": STREAMING}),
    "direct": (formats.chat_document, ([ChatTurn(CODES, "paris", CODES)], V), {"format": ReplyFormat(kind="speech")}),
    "short chat": (formats.chat_document, ([ChatTurn(CODES, "paris", CODES)], V), {}),
}


def documents() -> dict[str, np.ndarray]:
    return {name: layout(*arguments, **options) for name, (layout, arguments, options) in LAYOUTS.items()}


MASKS = {
    "text": "111",  # the capital EOS
    "speech": "111111",  # BOA 3 3 9 EOA EOS
    "asr": "000000" + "111",  # asr BOA 3 3 9 EOA | a lion EOS
    "tts": "0000" + "111111",  # tts bob a lion | BOA 3 3 9 EOA EOS
    "interleaved": "11" + "11111" + "1" + "11111" + "1",
    # user BOA 3 3 9 EOA assistant | transcript the capital of france assistant paris BOA 3 3 9 EOA
    # user a lion assistant | sleeps EOS: the mark that ends a reply counts, as the model must learn to stop
    "chat": "0000000" + "1" + "1111" + "1" + "1" + "11111" + "1" + "000" + "11",
    "system": "000" + "0000" + "11",
    "streaming": "0000000" + "11" + "11" + "11" + "1111" + "1",  # the capital 1 2 of france 3 4 5 6 EOS
    "direct": "0000000" + "11111" + "1",
    "short chat": "0000000" + "1" + "11111" + "1",
}


@pytest.mark.parametrize("name", MASKS)
def test_loss_mask_of_each_format(name: str) -> None:
    ids = documents()[name]
    assert ids.dtype == np.int32 and ids[-1] == EOS
    assert "".join(map(str, loss_mask(ids, V))) == MASKS[name], render(ids, V)
    layout, arguments, options = LAYOUTS[name]
    np.testing.assert_array_equal(layout.mask(*arguments, **options), loss_mask(ids, V))  # written with the ids


@given(st.lists(st.sampled_from(sorted(MASKS)), max_size=8), st.integers(0, 12), st.integers(0, 5))
def test_mask_of_packed_documents_is_theirs_in_a_row(names: list[str], cut: int, pads: int) -> None:
    for loss in LOSSES:
        rows = [documents()[name] for name in names]
        masks = [loss_mask(row, V, loss=loss) for row in rows]
        if rows and cut < len(rows[-1]):  # the last document may be cut off
            rows[-1], masks[-1] = rows[-1][: len(rows[-1]) - cut], masks[-1][: len(rows[-1]) - cut]
        packed = np.concatenate([*rows, np.full(pads, V.pad)]).astype(np.int32)
        got = loss_mask(packed, V, loss=loss)
        assert got.dtype == np.uint8 and got.shape == packed.shape
        np.testing.assert_array_equal(got, np.concatenate([*masks, np.zeros(pads)]))


@given(st.lists(st.sampled_from(sorted(MASKS)), min_size=1, max_size=3), st.data())
def test_a_cut_document_needs_few_ids_from_before_the_cut(names: list[str], data: st.DataObject) -> None:
    """Also of a document that goes on long after its header: turns of others, one after the other."""
    first, *others = (documents()[name] for name in names)
    document = np.concatenate([first[:-1], *(other[:-1] for other in others), np.full(500, first[-2]), first[-1:]])
    start = data.draw(st.integers(0, len(document) - 1))
    begun = beginning_of(lambda begin, stop: document[begin:stop], start, V)
    assert len(begun) <= 3
    for loss in LOSSES:
        got = loss_mask(np.concatenate([begun, document[start:]]), V, loss=loss)[len(begun) :]
        np.testing.assert_array_equal(got, loss_mask(document, V, loss=loss)[start:])


@pytest.mark.parametrize(("name", "most"), [("text", 2), ("interleaved", 2), ("chat", 130)])
def test_what_is_read_before_a_cut_does_not_grow_with_the_document(name: str, most: int) -> None:
    for times in (100, 10_000):
        document = np.tile(documents()[name][:-1], times)
        read: list[int] = []

        def of(begin: int, stop: int, document: np.ndarray = document, read: list[int] = read) -> np.ndarray:
            read.append(stop - begin)
            return document[begin:stop]

        beginning_of(of, len(document) - 5, V)
        assert 0 < sum(read) <= most


@given(st.lists(st.sampled_from(sorted(MASKS)), max_size=8))
def test_the_two_parts_are_disjoint_and_together_the_whole(names: list[str]) -> None:
    packed = np.concatenate([np.zeros(0, np.int32), *(documents()[name] for name in names)])
    text, speech = loss_mask(packed, V, loss="text"), loss_mask(packed, V, loss="speech")
    np.testing.assert_array_equal(text + speech, loss_mask(packed, V))
    assert not (text & V.is_speech(packed)).any() and not (speech & V.is_text(packed)).any()


def test_text_without_the_marks_that_begin_speech() -> None:
    ids = documents()["interleaved"]
    text, without = loss_mask(ids, V, loss="text"), loss_mask(ids, V, loss="text_without_marks")
    assert "".join(map(str, text)) == "11" + "10000" + "1" + "10000" + "0"
    assert "".join(map(str, without)) == "11" + "00000" + "1" + "00000" + "0"


SPEECH_PARTS = {  # of the masks above, what remains of them with loss=speech
    "text": "000",
    "speech": "011111",  # BOA could follow a text
    "asr": "000000000",
    "tts": "0000" + "011111",
    "chat": "0000000" + "0" + "0000" + "0" + "0" + "01111" + "1" + "000" + "00",  # the reply's speech and its end
    "streaming": "0000000" + "00" + "11" + "00" + "1111" + "1",
}


@pytest.mark.parametrize("name", SPEECH_PARTS)
def test_the_part_that_speech_is_learnt_from(name: str) -> None:
    ids = documents()[name]
    assert "".join(map(str, loss_mask(ids, V, loss="speech"))) == SPEECH_PARTS[name], render(ids, V)


def test_prompts_begin_their_documents() -> None:
    asr, tts = documents()["asr"], documents()["tts"]
    prompt = formats.asr_prompt(CODES, V)
    np.testing.assert_array_equal(asr[: len(prompt)], prompt)
    assert loss_mask(asr, V)[len(prompt) :].all() and not loss_mask(asr, V)[: len(prompt)].any()
    prompt = formats.tts_prompt("a lion", "bob", V)
    np.testing.assert_array_equal(tts[: len(prompt)], prompt)
    chat = documents()["chat"]
    prompt = formats.chat_prompt(CODES, V)
    np.testing.assert_array_equal(chat[: len(prompt)], prompt)


@given(
    st.lists(st.text(alphabet="ab .\né", min_size=1).filter(lambda text: bool(text.strip())), min_size=1, max_size=4)
)
def test_interleaved_text_round_trips(texts: list[str]) -> None:
    texts = [text.strip(" ") for text in texts]
    pieces: list[str | np.ndarray] = []
    for number, text in enumerate(texts):
        pieces += [text if number == 0 else f" {text}", CODES]
        pieces[-2] += " "
    ids = formats.interleaved_document(pieces, V)
    found = [V.decode_text(part) for part in np.split(ids, np.flatnonzero(ids == BOA))]
    assert found[: len(texts)] == texts
    assert (ids == BOA).sum() == (ids == EOA).sum() == len(texts)
    np.testing.assert_array_equal(V.codes(ids), np.tile(CODES, len(texts)))


def test_render_folds_speech() -> None:
    shown = render(documents()["interleaved"], V, num_shown=2)
    span = "<|begin_of_audio|> ‹3 speech: 3 3 …› <|end_of_audio|>"
    assert shown == f"the capital {span} is {span} <|endoftext|>"
    assert render([], V) == ""


@given(st.sampled_from(sorted(MASKS)))
def test_runs_hold_the_document_and_its_mask(name: str) -> None:
    ids = documents()[name]
    mask = loss_mask(ids, V)
    found = list(runs(ids, V, mask=mask, num_shown=100))
    words = {True: 0, False: 0}
    for run in found:
        one = {"special": 1, "text": len(V.encode_text(run.text)), "speech": len(run.text.split()) - 2}[run.kind]
        words[run.is_target] += one
    assert words == {True: int(mask.sum()), False: int((1 - mask).sum())}
    assert " ".join(run.text for run in runs(ids, V)) == render(ids, V)


def test_mask_does_no_work_token_by_token() -> None:
    """The calls it makes, of Python's and of numpy's functions, are as many for ten documents as for 5000."""

    def num_calls(times: int) -> int:
        packed = np.concatenate([*documents().values()] * times)
        calls = 0

        def count(frame: FrameType, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        gc.disable()  # it may call functions of others
        sys.setprofile(count)
        try:
            loss_mask(packed, V)
        finally:
            sys.setprofile(None)
            gc.enable()
        return calls

    loss_mask(np.concatenate([*documents().values()]), V)  # what is looked up once
    assert 5 < num_calls(1) == num_calls(500)
