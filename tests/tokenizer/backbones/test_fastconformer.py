"""Subsampling a piece at a time, as a CPU does in inference, equals subsampling the whole batch."""

from __future__ import annotations

import pytest
import torch

from tokenizer.backbones import fastconformer as encoder
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.backbones.fastconformer import FastConformerFront


@pytest.mark.parametrize("frame_rate", [50.0, 25.0, 12.5, 6.25])
@pytest.mark.parametrize("piece", [1, 3, 32])
def test_pieces_equal_the_whole(frame_rate: float, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "PIECE", piece)
    torch.manual_seed(0)
    config = TokenizerModelConfig(width=16, heads=2, subsampling_channels=4, num_mels=20, frame_rate=frame_rate)
    front = FastConformerFront(config).eval()
    front.initialise()
    tokens_B = torch.tensor([9, 1, 5, 0])
    x_BFM = torch.randn(4, 9 * front.stride + 1, 20)
    lengths_B = tokens_B * front.stride + 1
    whole_BTD = front.subsample(x_BFM, lengths_B)
    with torch.inference_mode():
        pieces_BTD = front.subsample(x_BFM, lengths_B)
    assert whole_BTD.requires_grad and whole_BTD.shape == pieces_BTD.shape == (4, 10, 16)
    torch.testing.assert_close(pieces_BTD, whole_BTD, rtol=0, atol=1e-5)
