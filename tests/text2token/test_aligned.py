import json
from pathlib import Path

import numpy as np
import pytest

from corpus.tokens import TokenisedUtterance, write_tokens
from lm.data.corpora import open_corpus
from lm.data.formats import interleaved_document
from lm.data.loss_mask import loss_mask
from lm.data.special_tokens import SpecialToken
from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError
from text2token.aligned import STAGE
from text2token.alignment.config import AlignedConfig
from text2token.alignment.word_times import TimedWord, WordTime, aligned_pieces, cut_speech, locate_words, read_times
from text2token.spans.layout import Span
from text2token.spans.policies import SpanConfig

TEXT = "Tom has a red ball."
TIMES = [["tom", 0.4, 0.8], ["has", 0.8, 1.2], ["a", 1.6, 1.7], ["red", 1.7, 2.0], ["ball", 2.4, 3.0]]
CODES = np.arange(40, dtype=np.uint16) % 24  # 3.2 s at 12.5 a second
WORDS = locate_words(TEXT, [WordTime(*row) for row in TIMES])


@pytest.mark.parametrize(
    ("words", "begin", "stop"),
    [
        ("Tom", 0, 10),  # from the start, to 0.8 s
        ("has", 10, 18),  # the midst of 1.2 and 1.6 s is 1.4 s: 17.5, to even
        ("has a red", 10, 28),  # 2.2 s: 27.5
        ("a red", 18, 28),
        ("ball.", 28, 40),  # to the end
        ("Tom has a red ball.", 0, 40),
    ],
)
def test_cuts(words: str, begin: int, stop: int) -> None:
    start = TEXT.index(words)
    cut = cut_speech(Span(start, start + len(words), 1), WORDS, CODES, 12.5)
    np.testing.assert_array_equal(cut, CODES[begin:stop])


def test_neighbours_share_no_token_and_lose_none() -> None:
    spans = [Span(word.start, word.stop, 1) for word in WORDS]
    whole = np.concatenate([cut_speech(span, WORDS, CODES, 12.5) for span in spans])
    np.testing.assert_array_equal(whole, CODES)
    assert cut_speech(Span(18, 19, 1), WORDS, CODES, 12.5).tolist() == []  # the full stop has no time
    late = [TimedWord(0, 3, 0.0, 0.5), TimedWord(4, 7, 9.0, 9.5)]  # beyond the recording
    assert cut_speech(Span(4, 7, 1), late, CODES[:5], 12.5).tolist() == []
    item = TokenisedUtterance("u", CODES, TEXT, 3.2, "ann")
    pieces = aligned_pieces(item.text, item.tokens, WORDS, [Span(4, 7, 1), Span(18, 19, 1)], 12.5)
    assert [one if isinstance(one, str) else len(one) for one in pieces] == ["Tom ", 8, " a red ball."]


def test_times_that_do_not_fit() -> None:
    assert [word.start for word in WORDS] == [0, 4, 8, 10, 14]
    assert locate_words("İzmir İLE kedi", [WordTime("kedi", 0, 1)]) == [TimedWord(10, 14, 0, 1)]  # İ is long in small
    for times, match in (
        ([["red", 0, 1], ["tom", 1, 2]], "'tom' is not in what is left"),
        ([["tom", 0, 1], ["has", 0.5, 2]], "'has' is spoken from 0.5"),
        ([["tom", 2, 1]], "from 2 to 1"),
    ):
        with pytest.raises(ValueError, match=match):
            locate_words(TEXT, [WordTime(*row) for row in times])


def test_times_are_lines_of_json_as_everywhere(tmp_path: Path) -> None:
    file = tmp_path / "words.jsonl"
    row = json.dumps({"id": "a", "words": [["caf\u2028é", 0, 1]]}, ensure_ascii=False).encode()
    file.write_bytes(b"\xef\xbb\xbf" + row + b"\r\n\n" + row.replace(b'"a"', b'"b"'))
    assert read_times(str(file)) == {name: [WordTime("caf\u2028é", 0, 1)] for name in ("a", "b")}
    for line, reason in ((b'{"id": "caf\xe9"}', "not UTF-8"), (rb'{"id": "\ud83d", "words": []}', "surrogate pair")):
        file.write_bytes(row + b"\n" + line)
        with pytest.raises(UserError, match=rf"line 2: no record of words .*{reason}"):
            read_times(str(file))


@pytest.fixture
def inputs(tmp_path: Path, vocabulary: Vocabulary) -> dict[str, str]:
    vocabulary.save_pretrained(tmp_path / "vocabulary")
    items = [TokenisedUtterance(f"u{n}", CODES, TEXT, 3.2, "ann") for n in range(40)]
    write_tokens(tmp_path / "tokens/train.parquet", items, tokenizer="abc", codebook_size=24, frame_rate=12.5)
    rows = [{"id": f"u{n}", "words": TIMES} for n in range(39)]
    (tmp_path / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {name: str(tmp_path / name) for name in ("tokens", "vocabulary")} | {"words": str(tmp_path / "words.jsonl")}


def test_documents_of_real_speech(tmp_path: Path, inputs: dict[str, str], vocabulary: Vocabulary) -> None:
    spans = SpanConfig(ratio=0.4, mean_words=2)
    metrics = STAGE.execute(AlignedConfig(out=str(tmp_path / "out"), spans=spans, **inputs))  # type: ignore[arg-type]
    assert metrics["documents"] == 39 and metrics["bad"] == 1 and metrics["realised_ratio"] == 0.4
    assert open_corpus(tmp_path / "out/interleaved", vocabulary).format == "interleaved"
    config = AlignedConfig(out=str(tmp_path / "plain"), spans=spans, has_marks=False, **inputs)  # type: ignore[arg-type]
    assert STAGE.execute(config)["tokens"] < metrics["tokens"]
    with pytest.raises(UserError, match="u39"):
        STAGE.execute(AlignedConfig(out=str(tmp_path / "strict"), max_bad_share=0.0, **inputs))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no record of words"):
        Path(inputs["words"]).write_text('{"id": 1}\n')
        STAGE.execute(AlignedConfig(out=str(tmp_path / "bad"), **inputs))  # type: ignore[arg-type]


def test_marks_are_optional(vocabulary: Vocabulary) -> None:
    pieces = ["the ", CODES[:3], " cat"]
    marked, plain = (interleaved_document(pieces, vocabulary, has_marks=has_marks) for has_marks in (True, False))
    marks = [vocabulary.special(SpecialToken.BEGIN_OF_AUDIO), vocabulary.special(SpecialToken.END_OF_AUDIO)]
    assert [int(id) for id in marked if id not in marks] == plain.tolist() and len(plain) == len(marked) - 2
    assert loss_mask(plain, vocabulary).all()
    text_only = loss_mask(plain, vocabulary, loss="text")
    assert (text_only == ~vocabulary.is_speech(plain)).all()
