"""Best-fit packing: every document whole and once an epoch, little padding, the same loss as documents alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.data.corpora import open_corpus
from lm.data.loss_mask import loss_mask
from lm.data.packing import best_fit

S = 48


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=80))
def test_every_document_is_packed_once_and_fits(lengths: list[int]) -> None:
    packed = best_fit(np.array(lengths), 20)
    assert sorted(packed.documents.tolist()) == list(range(len(lengths)))
    sums = [
        sum(lengths[document] for document in packed.documents[begin:end])
        for begin, end in zip(packed.starts, packed.starts[1:], strict=False)
    ]
    assert all(0 < total <= 20 for total in sums)
    assert len(sums) <= 11 / 9 * -(-sum(lengths) // 20) + 4 or min(lengths) > 6  # best-fit decreasing's bound
    half_empty = [total for total in sums if total <= 10]
    assert len(half_empty) <= 1  # two of them would have gone together


def one_by_one(lengths: list[int], capacity: int) -> list[list[int]]:
    """Best fit, document by document: the documents of each sequence. Of equal rooms the latest is filled."""
    sequences: list[list[int]] = []
    by_room: list[tuple[int, int]] = []  # room and sequence, in the order in which they came to that room
    for document in sorted(range(len(lengths)), key=lambda one: -lengths[one]):
        fitting = [(room, -at) for at, (room, _) in enumerate(by_room) if room >= lengths[document]]
        if fitting:
            room, sequence = by_room.pop(-min(fitting)[1])
        else:
            room, sequence = capacity, len(sequences)
            sequences.append([])
        sequences[sequence].append(document)
        if room > lengths[document]:
            by_room.append((room - lengths[document], sequence))
    return [sorted(sequence) for sequence in sequences]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 24).flatmap(lambda most: st.tuples(st.just(most), st.lists(st.integers(1, most), min_size=1))))
def test_equal_lengths_at_once_give_the_packing_of_one_by_one(case: tuple[int, list[int]]) -> None:
    capacity, lengths = case
    packed = best_fit(np.array(lengths), capacity)
    parts = np.split(packed.documents, packed.starts[1:-1])
    assert [part.tolist() for part in parts] == one_by_one(lengths, capacity)


def test_the_picture_of_the_docstring() -> None:
    packed = best_fit(np.array([2, 7, 6, 4, 3, 2]), 10)
    assert [part.tolist() for part in np.split(packed.documents, packed.starts[1:-1])] == [[1, 4], [2, 3], [0, 5]]


def samples_of(tiny: Any, form: str, cache: Path, length: int) -> tuple[list[dict[str, Any]], int]:
    from lm.data.dataset import build_training_data
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    corpus = open_corpus(tiny.folder / form, tiny.vocabulary)
    options = {"sequence_length": length, "seed": 3, "cache": cache, "packing": "best_fit"}
    with open_processes(ParallelConfig()):
        data = build_training_data({form: corpus}, {form: 1.0}, tiny.vocabulary, num_samples=60, **options)
        return [dict(data[number]) for number in range(60)], len(data.sample_index) - 1


@pytest.mark.parametrize("form", ["asr", "tts"])
def test_samples_hold_whole_documents(form: str, tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    samples, num_sequences = run_ranks(lambda: samples_of(tiny, form, tmp_path, S), 1)[0]
    assert num_sequences < 60, "more than one epoch is looked at"
    documents = list(open_corpus(tiny.folder / form, tiny.vocabulary).documents("train"))
    seen = []
    for sample in samples:
        row = np.append(sample["tokens"], sample["labels"][-1])
        is_padded = sample["labels"][-1] == tiny.vocabulary.pad
        numbers = np.append(sample["documents"], -1 if is_padded else sample["documents"][-1])
        ids = [row[numbers == number] for number in range(numbers.max() + 1)]
        for part, whole in enumerate(ids):
            assert whole[-1] == tiny.vocabulary.eos and (whole[:-1] != tiny.vocabulary.eos).all()
            labels = sample["loss_mask"][sample["documents"] == part][: len(whole) - 1]
            np.testing.assert_array_equal(labels, loss_mask(whole, tiny.vocabulary)[1:])
        assert not sample["loss_mask"][sample["documents"] == -1].any()
        seen.append([tuple(whole.tolist()) for whole in ids])
    epoch = sorted(document for sample in seen[:num_sequences] for document in sample)
    assert epoch == sorted(tuple(document.tolist()) for document in documents)
    again, _ = run_ranks(lambda: samples_of(tiny, form, tmp_path, S), 1)[0]
    for one, other in zip(samples, again, strict=True):
        np.testing.assert_array_equal(one["tokens"], other["tokens"])


def padding_of(tiny: Any, cache: Path, weights: dict[str, float], packing: str) -> tuple[float, list[float]]:
    """The share that is said, and the shares of padding in all sequences of each corpus alone."""
    from lm.data.dataset import build_training_data, padding_share
    from lm.training.parallel import ParallelConfig
    from lm.training.processes import open_processes

    corpora = {form: open_corpus(tiny.folder / form, tiny.vocabulary) for form in weights}
    options = {"sequence_length": S, "seed": 3, "cache": cache, "packing": packing}
    with open_processes(ParallelConfig()):
        said = padding_share(build_training_data(corpora, weights, tiny.vocabulary, num_samples=200, **options))
        counted = []
        for form, corpus in corpora.items():
            data = build_training_data({form: corpus}, {form: 1.0}, tiny.vocabulary, num_samples=200, **options)
            sequences = {int(place): number for number, place in enumerate(data.shuffle_index)}
            rows = [np.append(data[number]["tokens"], data[number]["labels"][-1]) for number in sequences.values()]
            counted.append(float(np.mean(np.stack(rows) == tiny.vocabulary.pad)))
        return said, counted


def test_the_share_of_padding_is_that_of_the_samples(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    weights = {"asr": 3.0, "tts": 1.0}
    said, (asr, tts) = run_ranks(lambda: padding_of(tiny, tmp_path, weights, "best_fit"), 1)[0]
    assert said == pytest.approx(0.75 * asr + 0.25 * tts) and 0 < said < 0.5 and asr != tts
    assert run_ranks(lambda: padding_of(tiny, tmp_path, weights, "stream"), 1)[0] == (0.0, [0.0, 0.0])


def packings_of(tiny: Any, cache: Path) -> tuple[int, list[int]]:
    """How often this rank packs, and its first sample."""
    from lm.data import dataset

    calls, pack = [], dataset.best_fit
    dataset.best_fit = lambda *arguments: calls.append(1) or pack(*arguments)  # type: ignore[assignment]  # a fork
    return len(samples_of(tiny, "asr", cache, S)[0]) and len(calls), samples_of(tiny, "asr", cache, S)[0][0]["tokens"]


def test_one_process_packs_and_the_others_read(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    (first, tokens), (second, others) = run_ranks(lambda: packings_of(tiny, tmp_path), 2)
    assert (first, second) == (1, 0)
    np.testing.assert_array_equal(tokens, others)


def test_long_documents_are_cut_at_the_sequences_end(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    samples, _ = run_ranks(lambda: samples_of(tiny, "tts", tmp_path, 16), 1)[0]
    assert all(len(sample["tokens"]) == 16 for sample in samples)
    header = tiny.vocabulary.special("<|tts|>")
    assert all(sample["tokens"][0] == header for sample in samples)


def test_trains_in_every_layout_alike_and_goes_on(tiny: Any, run_ranks: Any, tmp_path: Path) -> None:
    options = {"packing": "best_fit", "layers": 2, "sequence_length": S, "micro_batch": 4, "forms": ("asr", "tts")}
    one = run_ranks(lambda: tiny.train(tmp_path / "one", **options), 1)[0]
    two = run_ranks(lambda: tiny.train(tmp_path / "two", **options, tensor=2), 2)[0]
    assert two.losses == pytest.approx(one.losses, rel=1e-5)

    def interrupted() -> None:
        from lm.training.trainer import Trainer

        step = Trainer._step

        def failing(self: Any, number: int, batches: Any) -> Any:
            if number == 6:
                raise RuntimeError("interrupted")
            return step(self, number, batches)

        Trainer._step = failing  # type: ignore[method-assign]  # this process is a fork
        with pytest.raises(RuntimeError, match="interrupted"):
            tiny.train(tmp_path / "three", checkpoint_every=3, **options)

    run_ranks(interrupted, 1)
    three = run_ranks(lambda: tiny.train(tmp_path / "three", checkpoint_every=3, **options), 1)[0]
    assert three.losses == one.losses
    assert json.loads((tmp_path / "three/curve.jsonl").read_text().splitlines()[-1])["step"] == 12
