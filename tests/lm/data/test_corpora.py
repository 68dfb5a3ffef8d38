from pathlib import Path

import numpy as np
import pytest

from lm.data.corpora import open_corpus, write_corpus
from lm.data.formats import interleaved_document, speech_document, text_document
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from runtime.errors import UserError

BPE = train_bpe(["the capital of france is paris"] * 4, 400)
V = build_vocabulary(BPE, num_speech_tokens=16, speech_tokenizer="abc")
OTHER = build_vocabulary(BPE, num_speech_tokens=16, speech_tokenizer="xyz")
CODES = np.array([3, 3, 9], dtype=np.uint16)
TRAIN = [text_document("the capital", V), interleaved_document(["the", CODES], V)]
VALID = [speech_document(CODES, V)]


def test_round_trip_and_counts(tmp_path: Path) -> None:
    write_corpus(tmp_path / "mixed", "interleaved", V, iter(TRAIN), iter(VALID), {"eta": 0.3})
    info = open_corpus(tmp_path / "mixed", V)
    for split, expected in (("train", TRAIN), ("valid", VALID)):
        got = list(info.documents(split))
        assert [row.tolist() for row in got] == [row.tolist() for row in expected]
        counts = info.splits[split]
        assert counts.documents == len(expected) and counts.tokens == sum(map(len, expected))
        assert counts.longest == max(map(len, expected))
    assert info.splits["train"].speech_tokens == 3
    assert (info.format, info.speech_tokenizer, info.provenance) == ("interleaved", "abc", {"eta": 0.3})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mixed"]


def test_large_vocabularies_take_four_bytes(tmp_path: Path) -> None:
    large = build_vocabulary(BPE, num_speech_tokens=1 << 16, speech_tokenizer="abc")
    document = speech_document(np.array([0, (1 << 16) - 1], dtype=np.uint16), large)
    write_corpus(tmp_path / "speech", "speech", large, [document], [], {})
    info = open_corpus(tmp_path / "speech", large)
    assert next(iter(info.documents("train"))).tolist() == document.tolist()
    assert list(info.documents("valid")) == [] and not (tmp_path / "speech/valid.bin").exists()


def test_a_failed_write_leaves_the_old_corpus(tmp_path: Path) -> None:
    write_corpus(tmp_path / "text", "text", V, TRAIN, VALID, {})

    def broken():  # type: ignore[no-untyped-def]
        yield TRAIN[0]
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        write_corpus(tmp_path / "text", "text", V, broken(), VALID, {})
    assert open_corpus(tmp_path / "text", V).splits["train"].documents == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]
    with pytest.raises(UserError, match="no document"):
        write_corpus(tmp_path / "empty", "text", V, [], VALID, {})


def test_refusals(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    with pytest.raises(UserError, match="no LM corpus"):
        open_corpus(folder, V)
    write_corpus(folder, "text", V, TRAIN, VALID, {})
    with pytest.raises(UserError, match=f"{V.fingerprint}.*{OTHER.fingerprint}"):
        open_corpus(folder, OTHER)
    content = (folder / "train.bin").read_bytes()
    (folder / "train.bin").write_bytes(content[:-2])
    with pytest.raises(UserError, match=r"train\.bin.*damaged"):
        open_corpus(folder, V)
    (folder / "train.bin").write_bytes(content)
    (folder / "valid.idx").unlink()
    with pytest.raises(UserError, match=r"valid\.idx: no such file"):
        open_corpus(folder, V)
    (folder / "corpus.json").write_text('{"format": "text"}')
    with pytest.raises(UserError, match="incomplete"):
        open_corpus(folder, V)
