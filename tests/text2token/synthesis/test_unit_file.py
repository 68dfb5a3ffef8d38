import json
from pathlib import Path

import numpy as np
import pytest

from runtime.errors import UserError
from text2token.synthesis.unit_file import (
    Fingerprints,
    SpokenDocument,
    SpokenSpan,
    SynthesisCounts,
    read_unit,
    write_unit,
)

CODES = np.array([1, 2, 65535], dtype=np.uint16)
NONE = np.zeros(0, dtype=np.uint16)
FINGERPRINTS = Fingerprints("vocabulary", "tokenizer", "model")
DOCUMENTS = [
    SpokenDocument("a", "One two. Three four", [SpokenSpan(0, 3, 1, "one", "ann", "good", CODES)]),
    SpokenDocument(
        "b",
        "one two three four five",
        [
            SpokenSpan(4, 7, 1, "two", "ann", "long", NONE),
            SpokenSpan(14, 18, 1, "four", "bob", "good", CODES),
        ],
    ),
    SpokenDocument("c", "no spans é", []),
]


def test_round_trip_and_same_bytes(tmp_path: Path) -> None:
    for name in ("x", "y"):
        write_unit(tmp_path / f"{name}.parquet", DOCUMENTS, FINGERPRINTS, 2)
    assert (tmp_path / "x.parquet").read_bytes() == (tmp_path / "y.parquet").read_bytes()
    documents, fingerprints, num_bad = read_unit(tmp_path / "x.parquet")
    assert fingerprints == FINGERPRINTS and num_bad == 2
    for got, expected in zip(documents, DOCUMENTS, strict=True):
        assert (got.id, got.text, len(got.spans)) == (expected.id, expected.text, len(expected.spans))
        for span, wanted in zip(got.spans, expected.spans, strict=True):
            assert vars(span) | {"tokens": None} == vars(wanted) | {"tokens": None}
            np.testing.assert_array_equal(span.tokens, wanted.tokens)
    write_unit(tmp_path / "empty.parquet", [], FINGERPRINTS, 5)
    assert read_unit(tmp_path / "empty.parquet") == ([], FINGERPRINTS, 5)


def test_pieces_keep_the_text_and_leave_rejected_spans_in_it() -> None:
    shown = [[piece if isinstance(piece, str) else "S" for piece in document.pieces()] for document in DOCUMENTS]
    assert shown == [["", "S", " two. Three four"], ["one two three ", "S", " five"], ["no spans é"]]


def test_counts() -> None:
    counts = SynthesisCounts()
    for document in DOCUMENTS:
        counts.add(document)
    total = SynthesisCounts(documents=1, rejected={"long": 1, "short": 1})
    total.merge(json.loads(json.dumps(counts.record())) | {"bad": []})
    assert (counts.lengths, counts.speakers) == ({"1": 2}, {"ann": 1, "bob": 1})
    assert (counts.documents, counts.words, counts.spans, counts.tokens) == (3, 12, 3, 6)
    assert counts.realised_ratio == 2 / 12 and counts.chosen_words == 3 and counts.rejected_share == 1 / 3
    assert total.documents == 4 and total.rejected == {"long": 2, "short": 1}


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_unit(tmp_path / "none.parquet")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="not readable as Parquet"):
        read_unit(tmp_path / "x.parquet")
    from corpus.tokens import write_tokens

    write_tokens(tmp_path / "y.parquet", [], tokenizer="abc", codebook_size=16, frame_rate=12.5)
    with pytest.raises(UserError, match="no unit of synthesis"):
        read_unit(tmp_path / "y.parquet")
