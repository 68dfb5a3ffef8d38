"""Rows of ids in the four directions, by hand: order, parts and marks; sums over parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from evaluation.likelihood.sequence_encoding import CandidateEncoder, CandidateRow, PretrainedText, VocabularyText
from lm.data.formats import interleaved_document, speech_document, text_document
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from runtime.errors import UserError

V = build_vocabulary(train_bpe(["the ball is in the box"] * 4, 300), num_speech_tokens=32, speech_tokenizer="abc")
ENCODER = CandidateEncoder(VocabularyText(V), V)
STORY, ENDING = "the ball", "is in the box"
HEARD, SAID = np.array([1, 2, 3], np.uint16), np.array([4, 5], np.uint16)


def shape(row: CandidateRow) -> str:
    """One letter a token: c context, t continuation; capitals for marks."""
    letters = np.array(list("sct"))[row.parts]
    return "".join(letter.upper() if is_mark else letter for letter, is_mark in zip(letters, row.is_mark, strict=True))


def test_rows_are_training_documents() -> None:
    """Context and continuation stand as they stand in training, marks included."""
    whole = text_document(f"{STORY} {ENDING}", V)
    assert ENCODER.encode(STORY, ENDING).ids.tolist() == whole.tolist()
    assert ENCODER.encode(HEARD, SAID).ids.tolist() == speech_document(np.concatenate([HEARD, SAID]), V).tolist()
    assert ENCODER.encode(STORY, SAID).ids.tolist() == interleaved_document([f"{STORY} ", SAID], V).tolist()
    assert ENCODER.encode(HEARD, ENDING).ids.tolist() == interleaved_document([HEARD, f" {ENDING}"], V).tolist()
    assert ENCODER.encode(None, ENDING).ids.tolist() == text_document(ENDING, V).tolist()
    assert ENCODER.encode(None, SAID).ids.tolist() == speech_document(SAID, V).tolist()


def test_parts_and_marks() -> None:
    before, after = len(V.encode_text(STORY)), len(V.encode_text(f"{STORY} {ENDING}")) - len(V.encode_text(STORY))
    alone = len(V.encode_text(ENDING))
    assert shape(ENCODER.encode(STORY, ENDING)) == "c" * before + "t" * after + "T"
    assert shape(ENCODER.encode(HEARD, ENDING)) == "CcccC" + "t" * alone + "T"
    assert shape(ENCODER.encode(STORY, SAID)) == "c" * before + "TttTT"
    assert shape(ENCODER.encode(HEARD, SAID)) == "CcccttTT"
    assert shape(ENCODER.encode(None, SAID)) == "TttTT"
    assert shape(ENCODER.encode(None, ENDING)) == "t" * alone + "T"


def test_a_joiner_stands_only_where_no_white_space_does() -> None:
    wanted = ENCODER.encode(STORY, ENDING).ids.tolist()
    assert ENCODER.encode(f"{STORY} ", ENDING).ids.tolist() == wanted
    assert ENCODER.encode(STORY, f" {ENDING}").ids.tolist() == wanted
    assert V.decode_text(CandidateEncoder(VocabularyText(V), V, joiner="").encode(STORY, ENDING).ids) == STORY + ENDING


def test_the_continuation_begins_where_the_tokens_differ() -> None:
    """Joined without a blank, the last token of the context may not survive."""
    joined = CandidateEncoder(VocabularyText(V), V, joiner="").encode("the b", "all")
    whole, before = V.encode_text("the ball"), V.encode_text("the b")
    common = next(at for at, (one, other) in enumerate(zip(whole, [*before, -1], strict=False)) if one != other)
    assert shape(joined) == "c" * common + "t" * (len(whole) - common) + "T" and common < len(before)


def test_sums_leave_the_first_token_out_and_keep_marks_apart() -> None:
    row = ENCODER.encode(HEARD, SAID)  # BOA 1 2 3 4 5 EOA EOS
    found = row.likelihood(-np.array([1, 2, 4, 8, 16, 32, 64.0]))
    assert found.context == (-7.0, 3, 0.0, 0) and found.continuation == (-24.0, 2, -96.0, 2)
    row = ENCODER.encode(None, SAID)  # BOA 4 5 EOA EOS
    assert row.likelihood(-np.array([1, 2, 4, 8.0])).context == (0.0, 0, 0.0, 0)
    row = ENCODER.encode(HEARD, ENDING)
    assert row.likelihood(-np.ones(len(row.ids) - 1)).context == (-3.0, 3, -1.0, 1), "EOA closes the context"


def test_a_code_beyond_the_codebook() -> None:
    with pytest.raises(ValueError, match="32"):
        ENCODER.encode(None, np.array([32], np.uint16))


@pytest.mark.parametrize("has_marks", [False, True])
def test_a_text_model_has_the_marks_of_its_tokenizer(has_marks: bool, tmp_path: Path) -> None:
    words = {word: number for number, word in enumerate(["<unk>", "<s>", "</s>", "a", "b", "c"])}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = Whitespace()
    if has_marks:
        inner.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(tmp_path)
    encoder = CandidateEncoder(PretrainedText(tmp_path), None)
    row = encoder.encode("a b", "c")
    assert row.ids.tolist() == [1] * has_marks + [3, 4, 5, 2]
    assert shape(row) == "S" * has_marks + "cctT"
    with pytest.raises(UserError, match="no tokenizer that loads"):
        PretrainedText(tmp_path / "nowhere")
