"""Connector over the vectors of one clip that come piece by piece.

    stream = ConnectorStream(connector)
    positions = stream.feed(vectors)                    # those that no further vector changes
    rest = stream.feed(no_vectors, is_last=True)

The positions are those of the whole clip, but for the rounding of matrix products of other sizes.

T vectors, E their width, P positions, H width of the language model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lm.training.connector import Connector

PAST = 2  # positions whose vectors a later one may see: a convolution looks k + 1 <= 2 k vectors back


class ConnectorStream:
    """One clip.

    Args:
        connector: in evaluation mode.
    """

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self._held_TE: Tensor | None = None
        self._num_past = 0  # positions of which the held vectors begin with, and which were given

    @torch.inference_mode()
    def feed(self, vectors_TE: Tensor, *, is_last: bool = False) -> Tensor:
        """Take (T, E) vectors; the positions (P, H) that are whole now, and at the end the one begun."""
        connector = self.connector
        device, stride = connector.down.weight.device, connector.stride
        new_TE = vectors_TE.to(device, torch.float32)
        held_TE = new_TE if self._held_TE is None else torch.cat([self._held_TE, new_TE])
        known = -(-len(held_TE) // stride) if is_last else len(held_TE) // stride
        if known == self._num_past:
            self._held_TE = held_TE
            return torch.zeros((0, connector.down.out_features), device=device)
        used_TE = held_TE[: known * stride]
        made_PH = connector(used_TE[None], torch.tensor([len(used_TE)], device=device))[0, self._num_past :]
        self._num_past = min(known, PAST)
        self._held_TE = held_TE[(known - self._num_past) * stride :].clone()
        return made_PH
