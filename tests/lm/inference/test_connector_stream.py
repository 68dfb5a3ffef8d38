"""Vectors through a connector piece by piece: as the whole clip."""

from __future__ import annotations

import pytest
import torch

from lm.inference.connector_stream import ConnectorStream
from lm.training.connector import Connector
from lm.training.speech_config import ConnectorConfig

SHAPES = [("linear", 1), ("mlp", 1), ("conv", 1), ("conv", 3), ("stack", 2), ("stack", 4)]


@pytest.mark.parametrize(("kind", "stride"), SHAPES)
@pytest.mark.parametrize("length", [0, 1, 3, 4, 23])
def test_pieces_give_the_positions_of_the_whole(kind: str, stride: int, length: int) -> None:
    torch.manual_seed(length)
    connector = Connector(ConnectorConfig(kind=kind, stride=stride), 6, 10).eval()
    vectors_TE = torch.randn(length, 6)
    for sizes in ([1] * length, [length], [2, 5, 1, 7, length]):
        stream, made, given = ConnectorStream(connector), [], 0
        for piece in vectors_TE.split(clipped(sizes, length)):
            given += len(piece)
            made.append(stream.feed(piece))
            assert sum(map(len, made)) == given // stride  # all that no further vector changes
        made.append(stream.feed(torch.zeros(0, 6), is_last=True))
        whole_PH = torch.zeros(0, 10)
        if length:
            with torch.inference_mode():
                whole_PH = connector(vectors_TE[None], torch.tensor([length]))[0]
        torch.testing.assert_close(torch.cat(made), whole_PH, atol=1e-6, rtol=1e-5)


def clipped(sizes: list[int], total: int) -> list[int]:
    """Sizes that add up to ``total``."""
    found: list[int] = []
    for size in sizes:
        found.append(min(size, total - sum(found)))
    return found or [0]
