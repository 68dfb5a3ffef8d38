"""Laws of scoring: the built-in model, transformers and Megatron under any layout agree, alone and in a batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import base
from evaluation.likelihood.config import BaseConfig
from evaluation.likelihood.likelihood_file import read_likelihoods
from lm.data.text_tokenizers import train_bpe
from lm.data.vocabulary import Ids, Vocabulary, build_vocabulary
from lm.inference.cached_llama import CachedLlama
from lm.inference.generation import Generator
from lm.inference.hf_likelihood import TransformersLikelihood
from lm.inference.likelihood import LogProbabilities, TargetIds, length_buckets
from lm.training.parallel import ParallelConfig
from runtime.errors import UserError

torch.set_num_threads(1)
BPE = train_bpe(["the capital of france is paris"] * 4, 300)
V = build_vocabulary(BPE, num_speech_tokens=32, speech_tokenizer="abc", speakers=["ann"])
MODALITIES = ("any", "text", "speech", "own")


def llama(positions: int = 512) -> torch.nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=V.padded_size(16),
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=positions,
        initializer_range=0.15,
        pad_token_id=V.pad,
        bos_token_id=None,
        eos_token_id=V.eos,
    )
    model: torch.nn.Module = LlamaForCausalLM(config).eval()
    return model


LLAMA = llama()


def some_rows(vocabulary: Vocabulary, count: int = 14, longest: int = 60) -> list[Ids]:
    """Rows of all lengths from 0 on, one too long for a common batch."""
    generator = np.random.default_rng(0)
    lengths = [0, 1, 2, longest, *generator.integers(2, longest, count - 4)]
    return [generator.integers(0, vocabulary.size, length).astype(np.int32) for length in lengths]


def by_hand(row: Ids, modality: str) -> list[float]:
    """Token by token, with the ids that may come listed for each."""
    if len(row) < 2:
        return []
    with torch.no_grad():
        logits = LLAMA(torch.from_numpy(row.astype(np.int64))[None]).logits[0].double()
    every = np.arange(V.size)
    special = ~V.is_text(every) & ~V.is_speech(every)
    text, speech = special | V.is_text(every), special | V.is_speech(every)
    found = []
    for at, token in enumerate(row[1:].tolist()):
        own = text if V.is_text(token) else speech if V.is_speech(token) else np.ones(V.size, dtype=bool)
        ids = np.flatnonzero({"any": np.ones(V.size, dtype=bool), "text": text, "speech": speech, "own": own}[modality])
        total = float(torch.logsumexp(logits[at, ids], 0))
        found.append(float(logits[at, token]) - total if token in ids else -np.inf)
    return found


@pytest.mark.parametrize("modality", MODALITIES)
def test_log_probabilities_are_those_by_hand_alone_and_in_a_batch(modality: Any) -> None:
    rows = some_rows(V)
    for model in (Generator(CachedLlama(LLAMA), V), TransformersLikelihood(LLAMA, V)):
        found = model.log_probabilities(rows, modality)
        assert [len(one) for one in found] == [max(len(row) - 1, 0) for row in rows]
        for row, one in zip(rows, found, strict=True):
            assert one.tolist() == pytest.approx(by_hand(row, modality), abs=1e-4)
            assert model.log_probabilities([row], modality)[0].tolist() == pytest.approx(one.tolist(), abs=1e-5)
    assert model.log_probabilities([]) == []


def test_the_built_in_model_gives_the_same_bits_in_any_batch() -> None:
    rows = some_rows(V)
    model = Generator(CachedLlama(LLAMA), V)
    together = model.log_probabilities(rows, "own")
    backwards = model.log_probabilities(rows[::-1], "own")[::-1]
    for row, one, other in zip(rows, together, backwards, strict=True):
        assert one.tolist() == other.tolist() == model.log_probabilities([row], "own")[0].tolist()


def test_too_long() -> None:
    row = np.ones(600, np.int32)
    for model in (Generator(CachedLlama(LLAMA), V), TransformersLikelihood(LLAMA, V)):
        with pytest.raises(UserError, match=r"600 tokens .*512 positions"):
            model.log_probabilities([row[:3], row])


def test_a_text_model_needs_no_vocabulary(tmp_path: Path) -> None:
    LLAMA.save_pretrained(tmp_path)  # type: ignore[operator]
    model = TransformersLikelihood.from_pretrained(tmp_path)
    assert model.vocabulary is None
    row = some_rows(V)[5]
    with torch.no_grad():
        log_p = LLAMA(torch.from_numpy(row.astype(np.int64))[None]).logits[0].log_softmax(-1)
    expected = [float(log_p[at, token]) for at, token in enumerate(row[1:].tolist())]
    assert model.log_probabilities([row])[0].tolist() == pytest.approx(expected, abs=1e-5)


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 200), st.sampled_from([1, 8]))
@settings(max_examples=80, deadline=None)
def test_buckets_hold_every_row_once_within_the_bound(lengths: list[int], most: int, multiple: int) -> None:
    batches = length_buckets(lengths, most, multiple)
    assert sorted(number for batch in batches for number in batch) == list(range(len(lengths)))
    for batch in batches:
        assert [lengths[number] for number in batch] == sorted((lengths[number] for number in batch), reverse=True)
        padded = max(-(-lengths[batch[0]] // multiple) * multiple, 1)
        assert len(batch) == 1 or len(batch) * padded <= most


def test_masks_of_a_part_of_the_ids_are_parts_of_the_whole() -> None:
    """Tensor parallel processes hold neighbouring ids each."""
    generator = torch.Generator().manual_seed(0)
    size = V.padded_size(16)
    targets = torch.randint(0, V.size, (40,), generator=generator)
    logits = torch.randn((40, size), generator=generator)
    for modality in MODALITIES:
        scored = TargetIds(V, size, modality)  # type: ignore[arg-type]
        whole = scored.mask_(logits.clone(), targets)
        half = size // 2
        parts = [scored.mask_(logits[:, at : at + half].clone(), targets, at) for at in (0, half)]
        assert torch.equal(torch.cat(parts, 1), whole)
        assert whole[:, V.size :].isinf().all()


LAYOUTS: dict[str, tuple[int, dict[str, Any]]] = {
    "one process": (1, {}),
    "tensor": (2, {"tensor": 2}),
    "tensor and sequence": (2, {"tensor": 2, "sequence": True}),
    "pipeline": (2, {"pipeline": 2}),
    "data": (2, {}),
}


class Scored:
    """A checkpoint trained on two tensor parallel processes, exported, and scored by the built-in model."""

    def __init__(self, tiny: Any, run_ranks: Callable[..., Any], folder: Path) -> None:
        from lm.export import STAGE

        self.vocabulary = tiny.folder / "vocabulary"
        self.checkpoint, export = folder / "lm", folder / "export"
        run_ranks(lambda: tiny.train(self.checkpoint, tensor=2, steps=30), 2)
        words = [f"checkpoint={self.checkpoint}", f"vocabulary={self.vocabulary}", f"out={export}"]
        assert run_ranks(lambda: STAGE.main(words), 1) == [0]
        self.rows = some_rows(tiny.vocabulary)
        self.exported = export / "model"
        self.built_in = {
            modality: Generator.from_pretrained(self.exported).log_probabilities(self.rows, modality)  # type: ignore[arg-type]
            for modality in MODALITIES
        }


@pytest.fixture(scope="module")
def trained(tiny: Any, run_ranks: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Scored:
    return Scored(tiny, run_ranks, tmp_path_factory.mktemp("scored"))


def close(found: list[LogProbabilities], expected: list[LogProbabilities]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.tolist() == pytest.approx(other.tolist(), abs=1e-4)
        assert one.sum() == pytest.approx(other.sum(), rel=1e-4)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_megatron_checkpoint_scores_as_its_export_under_any_layout(
    name: str, trained: Scored, run_ranks: Callable[..., Any]
) -> None:
    from lm.inference.megatron_likelihood import open_megatron_likelihood

    size, layout = LAYOUTS[name]

    def work() -> dict[str, list[LogProbabilities]]:
        with open_megatron_likelihood(trained.checkpoint, trained.vocabulary, ParallelConfig(**layout)) as model:
            found = {one: model.log_probabilities(trained.rows, one) for one in MODALITIES}  # type: ignore[arg-type]
            alone = [model.log_probabilities([row])[0] for row in trained.rows]
        for one, other in zip(alone, found["any"], strict=True):
            assert np.allclose(one, other, rtol=0, atol=1e-5)
        return found

    for found in run_ranks(work, size):  # every process knows all numbers
        for modality in MODALITIES:
            close(found[modality], trained.built_in[modality])


def test_transformers_scores_as_the_built_in_model(trained: Scored) -> None:
    model = TransformersLikelihood.from_pretrained(trained.exported)
    for modality in MODALITIES:
        close(model.log_probabilities(trained.rows, modality), trained.built_in[modality])  # type: ignore[arg-type]


def test_the_evaluation_is_the_same_under_two_processes(
    trained: Scored, tiny: Any, run_ranks: Callable[..., Any], tmp_path: Path
) -> None:
    """`evaluation.base` on the checkpoint, tensor parallel, against one process and against the export."""
    texts = [tiny.texts[number : number + 3] for number in range(0, 30, 3)]
    parts = ("context", "correct", "incorrect")
    rows = [
        {part: {"text": text, "tokens": tiny.codes(text).tolist()} for part, text in zip(parts, three, strict=True)}
        for three in texts
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, Any] = {"data": str(tmp_path / "pairs.jsonl"), "directions": ["s2s", "s2t", "t2s", "t2t"]}
    checkpoint = settings | {"model": str(trained.checkpoint), "vocabulary": str(trained.vocabulary)}

    def work(name: str, parallel: ParallelConfig) -> None:
        base.STAGE.execute(BaseConfig(**checkpoint, parallel=parallel, out=str(tmp_path / name)))

    run_ranks(lambda: work("one", ParallelConfig()), 1)
    run_ranks(lambda: work("two", ParallelConfig(tensor=2)), 2)
    base.STAGE.execute(BaseConfig(**settings, model=str(trained.exported), out=str(tmp_path / "export")))
    found = [read_likelihoods(tmp_path / name) for name in ("one", "two", "export")]
    assert [read.header.settings["backend"] for read in found] == ["megatron", "megatron", "built_in"]
    for one, two, other in zip(*(read.likelihoods for read in found), strict=True):
        assert (one.id, one.direction) == (two.id, two.direction) == (other.id, other.direction)
        assert np.ravel(one.candidates) == pytest.approx(np.ravel(two.candidates), abs=1e-4)
        assert np.ravel(one.candidates) == pytest.approx(np.ravel(other.candidates), abs=1e-4)


def test_layouts_that_do_not_divide_are_refused(trained: Scored, tiny: Any, tmp_path: Path) -> None:
    from lm.inference.megatron_likelihood import open_megatron_likelihood

    for layout, words in ({"context": 2}, "parallel.context"), ({"tensor": 2}, "does not divide the 1 processes"):
        with (
            pytest.raises(UserError, match=words),
            open_megatron_likelihood(trained.checkpoint, trained.vocabulary, ParallelConfig(**layout)),
        ):
            pass
    V.save_pretrained(tmp_path / "other")
    with (
        pytest.raises(UserError, match="vocabulary"),
        open_megatron_likelihood(trained.checkpoint, tmp_path / "other", ParallelConfig()),
    ):
        pass
