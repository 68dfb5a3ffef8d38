"""Clips of micro batches: every position of speech finds its own vector, wherever a sequence cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from corpus.audio.files import read_audio
from lm.data.clips import AUDIO_SPAN, AudioClip, ClipDocument, ClipRecord, ClipTable
from lm.data.corpora import open_corpus, write_corpus
from lm.data.formats import asr_document
from runtime.errors import UserError

S = 24


def batches_of(data: Any, cache: Path, packing: str) -> list[tuple[Any, ...]]:
    """Micro batches of one sample each, and the vectors that its tokens should have (NaN: none)."""
    from lm.data.clip_batches import ClipCollation, FeatureReader
    from lm.data.dataset import build_training_data
    from lm.data.micro_batches import BatchIndices, read_batches
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    corpus = open_corpus(data.folder / "interleaved", data.vocabulary)
    table = corpus.clip_table("train")
    stored = np.fromfile(data.folder / "features.bin", dtype=np.float16).reshape(-1, data.record.width)
    rows = []
    for number, ids in enumerate(corpus.documents("train")):
        own = np.full((len(ids), data.record.width), np.nan, dtype=np.float16)
        own[ids == data.vocabulary.speech_offset] = np.concatenate(
            [stored[int(span["first"]) :][: int(span["frames"])] for span in table.of(number)]
        )
        rows.append(own)
    options = {"sequence_length": S, "seed": 3, "cache": cache, "packing": packing, "num_samples": 40}
    with open_processes(ParallelConfig()):
        clips = {"interleaved": FeatureReader(table)}
        dataset = build_training_data(
            {"interleaved": corpus}, {"interleaved": 1.0}, data.vocabulary, clips=clips, **options
        )
        indices = BatchIndices(
            first_step=0, last_step=40, global_batch=1, micro_batch=1, data_rank=0, data_size=1, num_samples=40
        )
        collation = ClipCollation(data.vocabulary, np.zeros((1, data.record.width), np.float16))
        found = [
            {name: tensor.numpy() for name, tensor in batch.items()}
            for batch in read_batches(dataset, indices, clips=collation)
        ]
        slices = [[tuple(part) for part in dataset.parts(number)] for number in range(40)]
    wanted = []
    for parts in slices:
        row = np.concatenate([rows[document][start:stop] for document, start, stop in parts])[:S]
        wanted.append(np.concatenate([row, np.full((S - len(row), row.shape[1]), np.nan, np.float16)]))
    return list(zip(found, wanted, slices, strict=True))


@pytest.mark.parametrize("packing", ["stream", "best_fit"])
def test_every_position_finds_its_vector(packing: str, vectors: Any, run_ranks: Any, tmp_path: Path) -> None:
    (batches,) = run_ranks(lambda: batches_of(vectors, tmp_path, packing), 1)
    num_cut = 0
    for batch, wanted, parts in batches:
        (places,) = batch["clip_places"]
        is_vector = places >= 0
        assert np.array_equal(is_vector, batch["tokens"][0] == vectors.vocabulary.speech_offset)
        clip, position = places[is_vector] >> 32, places[is_vector] & ((1 << 32) - 1)
        assert (position < batch["clip_lengths"][clip]).all()
        np.testing.assert_array_equal(batch["clips"][clip, position], wanted[is_vector])
        assert np.isnan(wanted[~is_vector]).all() and np.isfinite(wanted[is_vector]).all()
        num_cut += bool(is_vector[0] and parts[0][1] and position[0])
    assert (num_cut > 0) == (packing == "stream")  # sequences that begin within a clip


def test_text_alone_gets_one_clip_of_one_frame(vectors: Any) -> None:
    from lm.data.clip_batches import NO_CLIPS, ClipCollation

    collation = ClipCollation(vectors.vocabulary, np.zeros((1, 12), np.float16))
    batch = collation([NO_CLIPS, NO_CLIPS], S).tensors
    assert batch["clips"].shape == (1, 1, 12) and batch["clip_lengths"].tolist() == [1]
    assert batch["clip_places"].shape == (2, S) and (batch["clip_places"] == -1).all()


class Recording(NamedTuple):
    file: Path
    samples: int
    length: int  # samples at 16 kHz


def record(folder: Path, seconds: float, rate: int, channels: int) -> Recording:
    import soundfile

    count = int(seconds * rate)
    sound = 0.1 * np.random.default_rng(0).standard_normal((count, channels))
    soundfile.write(folder / "one.flac", sound, rate)
    return Recording(folder / "one.flac", count, len(read_audio(folder / "one.flac")))


def reader_of(audio: Any, folder: Path, recording: Recording, *, more: int = 0, **changes: Any) -> tuple[Any, Any]:
    """A corpus of one clip, its reader, and the run of ids that stands for the clip."""
    from lm.data.clip_batches import AudioReader

    positions = audio.encoder.num_positions(recording.length) + more
    whole = {"offset": 0, "bytes": recording.file.stat().st_size, "samples": recording.samples} | changes
    clip = AudioClip(file=recording.file, positions=positions, **whole)
    ids = asr_document(np.zeros(positions, dtype=np.uint16), "bada", audio.vocabulary)
    options = {"provenance": {}, "clips": audio.record, "valid": []}
    info = write_corpus(folder / "corpus", "asr", audio.vocabulary, [ClipDocument(ids, [clip])], **options)
    run = np.full(positions, audio.vocabulary.speech_offset)
    return AudioReader(info.clip_table("train"), audio.encoder.front_end), run


@pytest.mark.parametrize(("seconds", "rate", "channels"), [(0.5, 16_000, 1), (1.23, 44_100, 2), (90, 8_000, 1)])
def test_recordings_of_any_rate(seconds: float, rate: int, channels: int, audio: Any, tmp_path: Path) -> None:
    recording = record(tmp_path, seconds, rate, channels)
    reader, run = reader_of(audio, tmp_path, recording)
    wanted = audio.encoder.front_end.mel(read_audio(recording.file)).numpy()
    np.testing.assert_array_equal(reader.read(0, 0, run), wanted)


def test_recordings_that_are_not_as_they_were(audio: Any, tmp_path: Path) -> None:
    recording = record(tmp_path, 0.5, 16_000, 1)
    for words, changes in (
        ("the file ends 9 bytes before the clip does", {"bytes": recording.file.stat().st_size + 9}),
        ("not readable as audio", {"offset": 10, "bytes": 200}),
        ("8000 samples", {"samples": 8001}),
        ("7 positions where the document has 8 speech ids", {"more": 1}),
    ):
        reader, run = reader_of(audio, tmp_path, recording, **changes)
        with pytest.raises(UserError, match=rf"one\.flac .*clip 0 of train document 0: .*{words}"):
            reader.read(0, 0, run)
    reader, run = reader_of(audio, tmp_path, recording)  # one that has not opened the file
    recording.file.unlink()
    with pytest.raises(UserError, match=r"clip 0 of train document 0: cannot be read .*No such file"):
        reader.read(0, 0, run)


def test_the_latest_files_stay_open_and_workers_open_their_own(tmp_path: Path) -> None:
    """A table of six files, of which two may be open; a file that is moved away is read while it is open."""
    import pickle

    from lm.data.clip_batches import OpenShards

    names = [f"{number}.tar" for number in range(6)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 9)
    record = ClipRecord(kind="audio", encoder="e", positions_per_second=1, width=1, shards=tuple(names))
    np.save(tmp_path / "train.starts.npy", np.zeros(1, dtype=np.int64))
    np.save(tmp_path / "train.spans.npy", np.zeros(0, dtype=AUDIO_SPAN))
    shards = OpenShards(ClipTable(tmp_path, "train", record, []), most=2)
    for number in (0, 1, 2, 0, 5, 4):
        assert shards.read(number, 5, 10) == f"{number}.tar{number}.tar".encode()
    assert shards.read(3, 40, 10) == b"3.tar" and shards.read(3, 45, 1) == b""
    (tmp_path / "3.tar").unlink()
    assert shards.read(3, 0, 5) == b"3.tar"
    shards.read(0, 0, 1)
    shards.read(1, 0, 1)
    with pytest.raises(FileNotFoundError):
        shards.read(3, 0, 5)
    twin = pickle.loads(pickle.dumps(shards))
    assert shards._open and not twin._open and twin.read(2, 0, 5) == b"2.tar"
