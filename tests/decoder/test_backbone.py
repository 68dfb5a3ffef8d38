"""Blocks: a later block never changes an earlier one; padding never changes what is real."""

from __future__ import annotations

import itertools

import pytest
import torch

from decoder.backbone import BlockCausalTransformer, rotary_angles, rotate
from decoder.config import BackboneConfig
from runtime.errors import UserError

CONFIG = BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3)


def make_backbone(past: int, condition_width: int = 0) -> BlockCausalTransformer:
    backbone = BlockCausalTransformer(CONFIG, past=past, condition_width=condition_width)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone.eval()


def in_blocks(length: int, block: int) -> torch.Tensor:
    return torch.arange(length) // block


def test_a_later_block_changes_nothing_before_it() -> None:
    backbone = make_backbone(past=2)
    x, real = torch.randn(1, 14, 32), torch.ones(1, 14, dtype=torch.bool)
    blocks = in_blocks(14, 4)
    whole = backbone(x, real, blocks)
    for end in (4, 8, 12):
        torch.testing.assert_close(backbone(x[:, :end], real[:, :end], blocks[:end]), whole[:, :end])


@pytest.mark.parametrize("past", [0, 1, 2])
@pytest.mark.parametrize("ends", [(4, 8, 12, 14), (8, 14), (4, 14), (14,)])
def test_block_by_block_is_everything_at_once(past: int, ends: tuple[int, ...]) -> None:
    backbone = make_backbone(past=past, condition_width=8)
    x, real, condition = torch.randn(2, 14, 32), torch.ones(2, 14, dtype=torch.bool), torch.randn(2, 8)
    blocks = in_blocks(14, 4)
    whole = backbone(x, real, blocks, condition)
    cache, made = backbone.empty_cache(2), []
    for start, end in itertools.pairwise((0, *ends)):
        piece = slice(start, end)
        made.append(backbone(x[:, piece], real[:, piece], blocks[piece], condition, cache))
        assert cache.layers[0].key.shape[2] <= 4 * past
    torch.testing.assert_close(torch.cat(made, dim=1), whole, rtol=1e-4, atol=1e-5)


def test_within_a_block_the_future_counts() -> None:
    backbone = make_backbone(past=2)
    x, real = torch.randn(1, 8, 32), torch.ones(1, 8, dtype=torch.bool)
    blocks = in_blocks(8, 4)
    changed = x.clone()
    changed[:, 3] += 1.0
    same = (backbone(x, real, blocks) == backbone(changed, real, blocks)).all(-1)[0]
    assert not same.any()


def test_the_past_is_bounded() -> None:
    backbone = make_backbone(past=0)
    x, real = torch.randn(1, 12, 32), torch.ones(1, 12, dtype=torch.bool)
    blocks = in_blocks(12, 4)
    changed = x.clone()
    changed[:, 0] += 1.0
    reach = 4 + CONFIG.layers * (CONFIG.kernel - 1) + 4  # its own block, the convolutions' reach, the block they end in
    same = (backbone(x, real, blocks) == backbone(changed, real, blocks)).all(-1)[0]
    assert not same[:4].any()
    assert same[reach:].all()


@pytest.mark.parametrize("block", [12, 4])
def test_padding_changes_nothing(block: int) -> None:
    backbone = make_backbone(past=1, condition_width=8)
    x, condition = torch.randn(2, 12, 32), torch.randn(2, 8)
    real = torch.arange(12)[None] < torch.tensor([[12], [7]])
    x[1, 7:] = 100.0
    both = backbone(x, real, in_blocks(12, block), condition)
    alone = backbone(x[1:, :7], real[1:, :7], in_blocks(7, block), condition[1:])
    torch.testing.assert_close(both[1, :7], alone[0], rtol=1e-4, atol=1e-5)
    assert torch.isfinite(both).all()


@pytest.mark.parametrize("first", [0, 1_000_000])
def test_rotary_scores_depend_on_distance_only(first: int) -> None:
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)
    rotation = rotary_angles(first, 20, 16, torch.device("cpu"))
    queries, keys = rotate(query.expand(1, 1, 20, 16), rotation)[0, 0], rotate(key.expand(1, 1, 20, 16), rotation)[0, 0]
    scores = queries @ keys.T
    for distance in (0, 1, 5):
        diagonal = torch.diagonal(scores, distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-3, atol=1e-4)


def test_bad_shapes_name_the_option() -> None:
    with pytest.raises(UserError, match="width"):
        BackboneConfig(width=30, heads=4)
    with pytest.raises(UserError, match="layers"):
        BackboneConfig(layers=0)
