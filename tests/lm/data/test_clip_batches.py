"""Clips of micro batches: every position of speech finds its own vector, wherever a sequence cuts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.corpora import open_corpus

S = 24


def batches_of(data: Any, cache: Path, packing: str) -> list[tuple[Any, ...]]:
    """Micro batches of one sample each, and the vectors that its tokens should have (NaN: none)."""
    from lm.data.clip_batches import ClipCollation, FeatureReader
    from lm.data.dataset import BatchIndices, build_training_data, read_batches
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
    batch = collation([NO_CLIPS, NO_CLIPS], S)
    assert batch["clips"].shape == (1, 1, 12) and batch["clip_lengths"].tolist() == [1]
    assert batch["clip_places"].shape == (2, S) and (batch["clip_places"] == -1).all()
