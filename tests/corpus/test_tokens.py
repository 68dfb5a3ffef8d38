from pathlib import Path

import numpy as np
import pytest

from corpus.tokens import TokenisedUtterance, read_tokens, write_tokens
from runtime.errors import UserError


def items(count: int, start: int = 0) -> list[TokenisedUtterance]:
    return [
        TokenisedUtterance(f"u{n}", np.arange(n, dtype=np.uint16), f"text {n}", n / 12.5, "ann", kind="reply")
        for n in range(start, start + count)
    ]


def test_round_trip_of_shards(tmp_path: Path) -> None:
    for shard in range(2):
        path = tmp_path / f"{shard}.parquet"
        write_tokens(path, items(3, 3 * shard), tokenizer="abc", codebook_size=16, frame_rate=12.5)
    speech = read_tokens(tmp_path)
    assert (speech.tokenizer, speech.codebook_size, speech.frame_rate) == ("abc", 16, 12.5)
    for got, expected in zip(speech.items, items(6), strict=True):
        np.testing.assert_array_equal(got.tokens, expected.tokens)
        assert got.tokens.dtype == np.uint16
        assert (got.id, got.text, got.duration, got.kind) == (expected.id, expected.text, expected.duration, "reply")


def test_mixed_tokenizers_are_refused(tmp_path: Path) -> None:
    for name in ("abc", "xyz"):
        write_tokens(tmp_path / f"{name}.parquet", items(2), tokenizer=name, codebook_size=16, frame_rate=12.5)
    with pytest.raises(UserError, match=r"xyz\.parquet.*tokenizer xyz.*tokenizer abc"):
        read_tokens(tmp_path)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenised speech"):
        read_tokens(tmp_path)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(UserError, match=r"a\.parquet: not readable"):
        read_tokens(tmp_path)
    with pytest.raises(ValueError, match="not below codebook_size=2"):
        write_tokens(tmp_path / "b.parquet", items(6), tokenizer="abc", codebook_size=2, frame_rate=12.5)
