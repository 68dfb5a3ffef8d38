"""Packed samples: what is cut where, what counts in the loss, and who reads what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lm.data.corpora import open_corpus
from lm.data.loss_mask import loss_mask
from runtime.errors import UserError

S = 24


def samples_of(tiny: Any, form: str, cache: Path, *, split: str = "train", num_samples: int = 40) -> dict[str, Any]:
    """Samples of one corpus, and its documents in the order they are laid end to end."""
    from lm.data.dataset import build_training_data, build_validation_data
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    corpus = open_corpus(tiny.folder / form, tiny.vocabulary)
    options = {"sequence_length": S, "seed": 3, "cache": cache}
    with open_processes(ParallelConfig()):
        if split == "train":
            data = build_training_data({form: corpus}, {form: 1.0}, tiny.vocabulary, num_samples=num_samples, **options)
        else:
            data = build_validation_data(corpus, tiny.vocabulary, **options)
    return {
        "samples": [data[number] for number in range(len(data))],
        "order": [int(number) for number in data.document_index],
        "places": [int(number) for number in data.shuffle_index],
        "filler": data[None],
        "documents": list(corpus.documents(split)),
    }


@pytest.mark.parametrize("form", ["text", "speech", "asr", "tts", "interleaved"])
def test_samples_are_the_documents_end_to_end(form: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Every sample equals its place in the stream, also where it begins or ends in the midst of a document."""
    got = run_ranks(lambda: samples_of(tiny, form, tmp_path), 1)[0]
    vocabulary = tiny.vocabulary
    documents = [got["documents"][number] for number in got["order"]]
    stream = np.concatenate(documents)
    mask = np.concatenate([loss_mask(document, vocabulary) for document in documents])
    number = np.repeat(np.arange(len(documents)), [len(document) for document in documents])
    cut_inside = 0
    assert len(got["samples"]) >= 40
    for sample, place in zip(got["samples"], got["places"], strict=True):
        here = slice(place * S, place * S + S + 1)
        ids, numbers = stream[here], number[here]
        np.testing.assert_array_equal(sample["tokens"], ids[:-1])
        np.testing.assert_array_equal(sample["labels"], ids[1:])
        is_inside = numbers[1:] == numbers[:-1]
        np.testing.assert_array_equal(sample["loss_mask"], mask[here][1:] * is_inside)
        np.testing.assert_array_equal(sample["is_speech"], vocabulary.is_speech(ids[1:]))
        np.testing.assert_array_equal(np.diff(sample["documents"]) != 0, ~is_inside[:-1])
        cut_inside += place > 0 and number[place * S] == number[place * S - 1]
    assert cut_inside > 10
    assert got["filler"]["loss_mask"].sum() == 0


def test_validation_reads_every_token_once_and_pads(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    got = run_ranks(lambda: samples_of(tiny, "tts", tmp_path, split="valid"), 1)[0]
    documents = [got["documents"][number] for number in got["order"]]
    labels = np.concatenate([s["labels"] for _, s in sorted(zip(got["places"], got["samples"], strict=True))])
    stream = np.concatenate(documents)
    np.testing.assert_array_equal(labels[: len(stream) - 1], stream[1:])
    assert (labels[len(stream) - 1 :] == tiny.vocabulary.pad).all()
    last = got["samples"][got["places"].index(len(got["samples"]) - 1)]
    padded = last["documents"] == -1
    assert padded.any() and not last["loss_mask"][padded].any()
    counted = sum(loss_mask(document, tiny.vocabulary)[1:].sum() for document in documents)
    assert sum(sample["loss_mask"].sum() for sample in got["samples"]) == counted


def test_speech_of_interleaved_documents_can_be_left_out(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    def counted(name: str, **options: Any) -> list[float]:
        trained = tiny.train(tmp_path / name, forms=("interleaved",), steps=5, **options)
        return ["loss.speech" in row for row in trained.rows]

    assert all(run_ranks(lambda: counted("all"), 1)[0])
    assert not any(run_ranks(lambda: counted("text", losses={"interleaved": "text"}), 1)[0])


def test_one_corpus_may_be_learnt_in_two_parts(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    """Two names of one folder: each sample counts the targets of its own part, and the parts make up the whole."""

    def masks(losses: dict[str, str]) -> list[Any]:
        from lm.data.dataset import build_training_data
        from lm.training.parallel import ParallelConfig
        from lm.training.processes import open_processes

        corpus = open_corpus(tiny.folder / "interleaved", tiny.vocabulary)
        options = {"num_samples": 20, "sequence_length": S, "seed": 3, "cache": tmp_path / "-".join(losses.values())}
        with open_processes(ParallelConfig()):
            shares = dict.fromkeys(losses, 1.0)
            data = build_training_data(dict.fromkeys(losses, corpus), shares, tiny.vocabulary, losses=losses, **options)
            return [[one[number]["loss_mask"] for number in range(8)] for one in data.datasets]

    text, speech = run_ranks(lambda: masks({"a": "text", "b": "speech"}), 1)[0]
    whole, again = run_ranks(lambda: masks({"a": "all", "b": "all"}), 1)[0]
    np.testing.assert_array_equal(whole, again)
    np.testing.assert_array_equal(np.add(text, speech), whole)
    assert np.sum(text) > 0 and np.sum(speech) > 0


def test_losses_are_checked(tiny: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"losses.text: found 'words'.*all, text, speech"):
        tiny.config(tmp_path, losses={"text": "words"})
    with pytest.raises(UserError, match=r"losses.chat: found 'text'. name one of the corpora text, tts"):
        tiny.config(tmp_path, losses={"chat": "text"})


@pytest.mark.parametrize(("micro_batch", "data_size"), [(1, 1), (2, 1), (2, 2), (1, 4)])
def test_the_step_alone_decides_what_is_read(micro_batch: int, data_size: int) -> None:
    from lm.data.micro_batches import BatchIndices

    def read(first_step: int) -> list[list[int]]:
        steps: list[list[int]] = [[] for _ in range(first_step, 5)]
        for rank in range(data_size):
            indices = BatchIndices(
                first_step=first_step, last_step=5, global_batch=8, micro_batch=micro_batch,
                data_rank=rank, data_size=data_size, num_samples=40,
            )  # fmt: skip
            batches = list(indices)
            assert len(batches) == len(indices)
            per_step = len(batches) // len(steps)
            for number, batch in enumerate(batches):
                steps[number // per_step] += batch
        return [sorted(step) for step in steps]

    assert read(0) == [list(range(step * 8, step * 8 + 8)) for step in range(5)]
    assert read(3) == read(0)[3:]


def test_samples_beyond_the_last_only_fill(tiny: Any) -> None:
    from lm.data.micro_batches import BatchIndices

    indices = BatchIndices(
        first_step=0, last_step=1, global_batch=8, micro_batch=4, data_rank=0, data_size=1, num_samples=6
    )
    assert list(indices) == [[0, 1, 2, 3], [4, 5, None, None]]


def test_half_written_indices_are_made_anew(tmp_path: Path) -> None:
    from lm.data.dataset import finish_cache, prepare_cache

    cache = tmp_path / "index"
    prepare_cache(cache)
    (cache / "half.npy").write_bytes(b"")
    prepare_cache(cache)
    assert list(cache.iterdir()) == []
    (cache / "whole.npy").write_bytes(b"")
    finish_cache(cache)
    prepare_cache(cache)
    assert (cache / "whole.npy").exists()
