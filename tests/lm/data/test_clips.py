import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.clips import AudioClip, ClipDocument, ClipRecord, FeatureClip, FeatureShards, speech_runs
from lm.data.corpora import CorpusInfo, open_corpus, write_corpus
from lm.data.formats import asr_document, interleaved_document, text_document
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import build_vocabulary
from runtime.errors import UserError

BPE = train_bpe(["the capital of france is paris"] * 4, 400)
V = build_vocabulary(BPE, num_speech_tokens=1, speech_tokenizer="hearing")
RECORD = ClipRecord(kind="features", encoder="hearing", positions_per_second=12.5, width=4, stride=2)
AUDIO = ClipRecord(kind="audio", encoder="hearing", positions_per_second=12.5, width=4)


def places(count: int) -> np.ndarray:
    return np.zeros(count, dtype=np.uint16)


class Stored:
    """Two shards of vectors, and documents of 1, 2 and no clips that refer to them."""

    def __init__(self, folder: Path) -> None:
        rows = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float16)
        self.rows = [rows[:20], rows[20:]]
        (folder / "features").mkdir()
        self.files = [folder / "features/a.npy", folder / "features/b.bin"]
        np.save(self.files[0], self.rows[0])
        self.rows[1].tofile(self.files[1])
        a, b = self.files
        self.train = [
            ClipDocument(asr_document(places(3), "the capital", V), [FeatureClip(a, 0, 5)]),
            text_document("of france", V),
            ClipDocument(
                interleaved_document(["is", places(2), "paris", places(4)], V),
                [FeatureClip(b, 1, 4), FeatureClip(a, 5, 8)],
            ),
        ]

    def write(self, folder: Path, train: Any = None, **options: Any) -> CorpusInfo:
        return write_corpus(folder, "interleaved", V, train or self.train, [], {}, **{"clips": RECORD, **options})


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path)


def test_each_run_of_the_speech_id_finds_its_vectors(stored: Stored, tmp_path: Path) -> None:
    stored.write(tmp_path / "corpus")
    (tmp_path / "corpus").rename(tmp_path / "moved")  # beside the features, whose names are relative
    info = open_corpus(tmp_path / "moved", V)
    assert info.clips is not None and info.clips.shards == ("../features/a.npy", "../features/b.bin")
    table = info.clip_table("train")
    shards = pickle.loads(pickle.dumps(FeatureShards(table)))
    assert [len(table.of(number)) for number in range(3)] == [1, 0, 2]
    for (document, number), (shard, first, frames) in {(0, 0): (0, 0, 5), (2, 0): (1, 1, 4), (2, 1): (0, 5, 8)}.items():
        assert np.array_equal(shards.read(document, number), stored.rows[shard][first : first + frames])
    for number, ids in enumerate(info.documents("train")):
        runs = [stop - start for start, stop in speech_runs(ids, V)]
        table.check_runs(number, runs)
    assert info.splits["valid"].documents == 0 and info.clip_table("valid").num_clips == 0
    assert "clips" not in json.loads((tmp_path / "moved/corpus.json").read_text())


def test_spans_of_audio(tmp_path: Path) -> None:
    clip = AudioClip(tmp_path / "a.tar", 1 << 33, 900, 16_000, 13)
    document = ClipDocument(asr_document(places(13), "paris", V), [clip])
    write_corpus(tmp_path / "corpus", "asr", V, [document], [document], {}, clips=AUDIO)
    (span,) = open_corpus(tmp_path / "corpus", V).clip_table("valid").of(0)
    assert span.tolist() == (0, 1 << 33, 900, 16_000)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([2, 4], ""),
        ([2], "span 1, .*1 runs of the speech id and 2 clips"),
        ([3, 4], "span 0, .*a run of 3 speech ids where the clip has 2 positions"),
        ([2, 5], r"span 1, .*a\.npy: a run of 5 .*4 positions"),
        ([2, 4, 1], "span 2: 3 runs of the speech id and 2 clips"),
    ],
)
def test_runs_are_checked_when_read(runs: list[int], words: str, stored: Stored, tmp_path: Path) -> None:
    table = stored.write(tmp_path / "corpus").clip_table("train")
    if not words:
        table.check_runs(2, runs)
        return
    with pytest.raises(UserError, match=f"train document 2, {words}"):
        table.check_runs(2, runs)


def test_refusals_when_written(stored: Stored, tmp_path: Path) -> None:
    ids, clips = stored.train[2][:2]
    for train, words in (
        ([ClipDocument(ids, clips[::-1])], r"document 0, span 0, .*a\.npy.*a run of 2 speech ids .* has 4 positions"),
        ([stored.train[1], ids], "train document 1, span 0: 2 runs of the speech id and 0 clips"),
        ([ClipDocument(ids, [AudioClip(tmp_path, 0, 1, 1, 4), clips[1]])], "clips that are not FeatureClip"),
    ):
        with pytest.raises(UserError, match=words):
            stored.write(tmp_path / "corpus", train)
    discrete = build_vocabulary(BPE, num_speech_tokens=16, speech_tokenizer="hearing")
    with pytest.raises(UserError, match=r"16 speech tokens.*num_speech_tokens=1"):
        write_corpus(tmp_path / "corpus", "text", discrete, [text_document("of", discrete)], [], {}, clips=RECORD)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features"]


def test_refusals_when_read(stored: Stored, tmp_path: Path) -> None:
    info = stored.write(tmp_path / "corpus")
    shards = FeatureShards(info.clip_table("train"))
    np.save(stored.files[0], stored.rows[0][:10])
    with pytest.raises(
        UserError, match=r"a\.npy \(first 5, frames 8\), clip 1 of train document 2: .*10 rows .* row 13"
    ):
        shards.read(2, 1)
    stored.files[1].unlink()
    with pytest.raises(UserError, match=r"b\.bin .*clip 0 of train document 2: .*No such file"):
        shards.read(2, 0)
    np.save(stored.files[0], stored.rows[0][:, :3])
    with pytest.raises(UserError, match=r"shape \(20, 3\) where rows of 4 float16"):
        FeatureShards(info.clip_table("train")).read(0, 0)
    starts = np.load(tmp_path / "corpus/train.starts.npy")
    np.save(tmp_path / "corpus/train.starts.npy", starts[:-1])
    with pytest.raises(UserError, match=r"train\.starts\.npy: 3 starts"):
        open_corpus(tmp_path / "corpus", V)
    (tmp_path / "corpus/train.spans.npy").unlink()
    with pytest.raises(UserError, match=r"train\.spans\.npy: cannot be read"):
        open_corpus(tmp_path / "corpus", V)
    (tmp_path / "corpus/speech.json").write_text('{"kind": "features"}')
    with pytest.raises(UserError, match=r"speech\.json: incomplete"):
        open_corpus(tmp_path / "corpus", V)
