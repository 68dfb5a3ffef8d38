"""Laws of the data order: a pure function of (seed, step), each row once an epoch, within the budget."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.audio.mel_config import LogMelConfig
from tokenizer.data.augment import augment, warp_matrices
from tokenizer.data.batches import Batches, Prefetcher
from tokenizer.data.config import AugmentConfig


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=60), budget=st.integers(90, 300), seed=st.integers(0, 9)
)
def test_each_row_once_an_epoch_and_never_over_budget(lengths: list[int], budget: int, seed: int) -> None:
    batches = Batches(lengths, budget, seed)
    for epoch in range(3):
        found = batches.epoch(epoch)
        assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
        assert all(len(batch) * max(lengths[row] for row in batch) <= budget for batch in found)


def test_any_step_is_the_same_from_anywhere() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 100).tolist()
    walked = [Batches(lengths, 200, 1).at(step) for step in range(60)]
    batches = Batches(lengths, 200, 1)
    assert [batches.at(step) for step in range(60)] == walked
    assert [batches.at(step) for step in (59, 3, 31)] == [walked[59], walked[3], walked[31]]
    assert [Batches(lengths, 200, 2).at(step) for step in range(9)] != walked[:9]


def test_lengths_within_a_batch_are_alike() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, 2000).tolist()
    batches = Batches(lengths, 1000, 1).epoch(0)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.2 * sum(lengths)


def test_loading_ahead_changes_nothing() -> None:
    ahead = Prefetcher(lambda step: step * step, workers=3)
    assert [ahead(step) for step in range(20)] == [step * step for step in range(20)]


def test_augmentation_keeps_the_rule_of_time_and_repeats_with_the_seed() -> None:
    mel_BMF, lengths_B = torch.randn(5, 80, 96), torch.tensor([12, 3, 7, 12, 1])
    for seed in range(20):
        torch.manual_seed(seed)
        changed_BMF, changed_B = augment(mel_BMF, lengths_B, AugmentConfig(), LogMelConfig(), 8)
        assert changed_BMF.shape[2] % 8 == 0 and changed_BMF.shape[:2] == mel_BMF.shape[:2]
        assert changed_B.min() >= 1 and changed_B.max() <= changed_BMF.shape[2] // 8
        torch.manual_seed(seed)
        again_BMF, _ = augment(mel_BMF, lengths_B, AugmentConfig(), LogMelConfig(), 8)
        assert torch.equal(changed_BMF, again_BMF)
    nothing = AugmentConfig(warp=0, stretch=0, tilt=0, frequency_masks=0, time_masks=0)
    assert torch.equal(augment(mel_BMF, lengths_B, nothing, LogMelConfig(), 8)[0], mel_BMF)


def test_no_warp_is_the_identity() -> None:
    assert torch.allclose(warp_matrices(torch.ones(1), LogMelConfig())[0], torch.eye(80), atol=1e-5)
    assert torch.all(warp_matrices(torch.tensor([0.9, 1.1]), LogMelConfig()).sum(-1) > 0.99)
