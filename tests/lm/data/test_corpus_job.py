"""Shards with clips, written by units: each names its own files, and reading finds them by the split's numbers."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data import corpora, shards
from lm.data.clips import ClipRecord, FeatureClip, FeatureShards
from lm.data.corpora import CorpusInfo, open_corpus
from lm.data.corpus_job import finish_corpus, write_shard
from lm.data.formats import asr_document
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from runtime.bulk.attempt import UnitAttempt
from runtime.bulk.job import UnitFolder
from runtime.bulk.unit import Unit
from runtime.bulk.workers import UnitFunction, finish_units
from runtime.errors import UserError

V = build_vocabulary(train_bpe(["of the lion sleeps"] * 3, 300), num_speech_tokens=1, speech_tokenizer="hearing")
RECORD = ClipRecord(kind="features", encoder="e", positions_per_second=12.5, width=4)
COUNTS = [2, 0, 3, 1, 2]  # documents of each unit


class ClipShards:
    """Each unit's documents lie in feature files of their own, and in one that all share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        for number in range(len(COUNTS)):
            np.save(self.file(number), self.rows(number))
        np.save(folder / "shared.npy", self.rows(99))

    def file(self, number: int) -> Path:
        return self.folder / f"{number}.npy"

    def rows(self, number: int) -> np.ndarray:
        return np.random.default_rng(number).standard_normal((20, 4)).astype(np.float16)

    def clip(self, unit: int, document: int) -> FeatureClip:
        file = self.folder / "shared.npy" if document == 1 else self.file(unit)
        return FeatureClip(file, 3 * document, 2 + document)

    def start(self, number: int) -> UnitFunction:
        return self.write

    def write(self, attempt: UnitAttempt) -> dict[str, Any]:
        result: dict[str, Any] = {}
        unit = attempt.unit.work["number"]
        with write_shard(attempt, V, result, RECORD) as shard:
            for document in range(COUNTS[unit]):
                clip = self.clip(unit, document)
                shard.add(asr_document(np.zeros(clip.frames, dtype=np.uint16), "the lion", V), [clip])
        return result


@pytest.fixture
def work(tmp_path: Path) -> ClipShards:
    return ClipShards(tmp_path / "features")


@pytest.fixture
def corpus(work: ClipShards, tmp_path: Path) -> CorpusInfo:
    units = [Unit(f"train/unit-{n:06d}", {"split": "train", "number": n}) for n in range(len(COUNTS))]
    job = UnitFolder.create(tmp_path / "corpus", units)
    list(finish_units(job, work, processes=1))
    finish_corpus(job, "asr", V, {"from": "here"}, RECORD)
    return open_corpus(tmp_path / "corpus", V)


def test_clips_are_found_in_the_shards_own_files(corpus: CorpusInfo, work: ClipShards) -> None:
    assert [shard.counts.documents for shard in corpus.shards("train")] == [2, 3, 1, 2]
    assert not list(corpus.folder.rglob("unit-000001.*[!json]"))  # a unit without a document leaves no shard
    table = corpus.clip_table("train")
    assert (table.num_clips, table.num_files) == (8, 7)
    vectors = pickle.loads(pickle.dumps(FeatureShards(table)))
    documents = [(unit, number) for unit, count in enumerate(COUNTS) for number in range(count)]
    for at, (unit, number) in enumerate(documents):
        clip = work.clip(unit, number)
        source = work.rows(99 if number == 1 else unit)
        np.testing.assert_array_equal(vectors.read(at, 0), source[clip.first : clip.first + clip.frames])
        assert table.shard(int(table.of(at)[0]["shard"])).resolve() == clip.file.resolve()
        table.check_runs(at, [clip.frames])
    assert len({int(table.of(at)[0]["shard"]) for at in range(8)}) == 7
    with pytest.raises(IndexError):
        table.of(8)


def test_few_shards_are_open_at_once(corpus: CorpusInfo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "OPEN_SHARDS", 2)
    documents = corpus.documents("train")
    rows = [row.tolist() for row in documents]
    for at in (7, 0, 5, 2, 7, 1, 6, 3, 4):
        assert documents.get(at).tolist() == rows[at] and documents.length(at) == len(rows[at])
        assert len(documents._files._open) <= 2
    assert documents.sequence_lengths.tolist() == list(map(len, rows)) and len(documents) == 8
    assert not pickle.loads(pickle.dumps(documents))._files._open


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train/unit-000002.bin", r"unit-000002\.bin: .*no such file"),
        ("train/unit-000002.idx", r"unit-000002\.idx: .*no such file"),
        ("train/unit-000003.spans.npy", r"unit-000003\.spans\.npy: .*cannot be read"),
        ("train/unit-000003.files.json", r"unit-000003\.files\.json: .*no such file"),
    ],
)
def test_a_missing_file_of_a_shard_is_named(name: str, words: str, corpus: CorpusInfo) -> None:
    (corpus.folder / name).unlink()
    with pytest.raises(UserError, match=words):
        open_corpus(corpus.folder, V)


def test_of_many_shards_some_are_looked_at_and_each_when_it_is_read(
    corpus: CorpusInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "CHECKED_SHARDS", 2)
    torn = corpus.folder / "train/unit-000002.bin"
    torn.write_bytes(torn.read_bytes()[:-2])
    documents = open_corpus(corpus.folder, V).documents("train")
    assert documents.length(7) > 0
    with pytest.raises(UserError, match=r"unit-000002\.bin: .*ids where the index has"):
        documents.get(2)
