"""Blocks: a later block never changes an earlier one; padding never changes what is real."""

from __future__ import annotations

import pytest
import torch

from corpus.errors import UserError
from decoder.backbone import Backbone, rotary_angles, rotate
from decoder.config import BackboneConfig

CONFIG = BackboneConfig(width=32, layers=2, heads=2, expansion=2, kernel=3)


def make_backbone(block: int, past: int, condition_width: int = 0) -> Backbone:
    backbone = Backbone(CONFIG, block=block, past=past, condition_width=condition_width)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone.eval()


def test_a_later_block_changes_nothing_before_it() -> None:
    backbone = make_backbone(block=4, past=2)
    x, real = torch.randn(1, 14, 32), torch.ones(1, 14, dtype=torch.bool)
    whole = backbone(x, real)
    for end in (4, 8, 12):
        torch.testing.assert_close(backbone(x[:, :end], real[:, :end]), whole[:, :end])


def test_within_a_block_the_future_counts() -> None:
    backbone = make_backbone(block=4, past=2)
    x, real = torch.randn(1, 8, 32), torch.ones(1, 8, dtype=torch.bool)
    changed = x.clone()
    changed[:, 3] += 1.0
    same = (backbone(x, real) == backbone(changed, real)).all(-1)[0]
    assert not same.any()


def test_the_past_is_bounded() -> None:
    backbone = make_backbone(block=4, past=0)
    x, real = torch.randn(1, 12, 32), torch.ones(1, 12, dtype=torch.bool)
    changed = x.clone()
    changed[:, 0] += 1.0
    reach = 4 + CONFIG.layers * (CONFIG.kernel - 1) + 4  # its own block, the convolutions' reach, the block they end in
    same = (backbone(x, real) == backbone(changed, real)).all(-1)[0]
    assert not same[:4].any()
    assert same[reach:].all()


@pytest.mark.parametrize("block", [0, 4])
def test_padding_changes_nothing(block: int) -> None:
    backbone = make_backbone(block=block, past=1, condition_width=8)
    x, condition = torch.randn(2, 12, 32), torch.randn(2, 8)
    real = torch.arange(12)[None] < torch.tensor([[12], [7]])
    x[1, 7:] = 100.0
    both = backbone(x, real, condition)
    alone = backbone(x[1:, :7], real[1:, :7], condition[1:])
    torch.testing.assert_close(both[1, :7], alone[0], rtol=1e-4, atol=1e-5)
    assert torch.isfinite(both).all()


def test_rotary_scores_depend_on_distance_only() -> None:
    query, key = torch.randn(1, 1, 1, 16), torch.randn(1, 1, 1, 16)
    rotation = rotary_angles(20, 16, torch.device("cpu"))
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
