"""Connector: vectors of a speech encoder to vectors as wide as the language model's embeddings.

| kind | layers | positions of T vectors |
|---|---|---|
| linear | matrix | T |
| mlp | norm, matrix, GELU, matrix | T |
| conv | norm, causal convolution over 2 k + 1 vectors with stride k, GELU, matrix | T / k, rounded up |
| stack | norm, k vectors as one, matrix, GELU, matrix | T / k, rounded up |

Behind a clip's end the convolution and the stack see zeros, so padding and batch mates change no vector.

C clips, T vectors of a clip, E their width, k stride, P positions, W inner width, H width of the language model.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .speech_config import ConnectorConfig


class Connector(nn.Module):
    """One of the kinds above.

    Args:
        config: kind, stride, inner width and dropout.
        width: E.
        hidden: H.
    """

    def __init__(self, config: ConnectorConfig, width: int, hidden: int) -> None:
        super().__init__()
        self.kind, self.stride = config.kind, config.stride
        inner = config.width or hidden
        if config.kind == "linear":
            self.down = nn.Linear(width, hidden)
        else:
            self.norm = nn.LayerNorm(width)
            if config.kind == "conv":
                self.up: nn.Module = nn.Conv1d(width, inner, 2 * self.stride + 1, stride=self.stride)
            else:
                self.up = nn.Linear(width * self.stride, inner)
            self.down = nn.Linear(inner, hidden)
        # The table is the same on all tensor parallel processes and so is the default random state: no forked state,
        # also under sequence parallel, and a clip that two of them share is dropped alike on both.
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, vectors_CTE: Tensor, lengths_C: Tensor) -> Tensor:
        """(C, T, E) vectors, the first ``lengths`` (C,) of each clip real, to (C, P, H)."""
        vectors_CTE = vectors_CTE.to(self.down.weight.dtype)
        if self.kind != "linear":
            vectors_CTE = self.norm(vectors_CTE)
        if self.kind in ("conv", "stack"):
            vectors_CTE = self._whole_strides(vectors_CTE, lengths_C)
        if self.kind == "conv":  # a position sees its own k vectors and the k + 1 before
            past_CET = nn.functional.pad(vectors_CTE.transpose(1, 2), (self.stride + 1, 0))
            vectors_CTE = self.up(past_CET).transpose(1, 2)
        elif self.kind == "stack":
            vectors_CTE = self.up(vectors_CTE.reshape(len(vectors_CTE), -1, self.stride * vectors_CTE.size(-1)))
        elif self.kind == "mlp":
            vectors_CTE = self.up(vectors_CTE)
        if self.kind != "linear":
            vectors_CTE = nn.functional.gelu(vectors_CTE)
        result: Tensor = self.dropout(self.down(vectors_CTE))
        return result

    def _whole_strides(self, vectors_CTE: Tensor, lengths_C: Tensor) -> Tensor:
        """Zeros behind each clip's end, up to a whole number of strides."""
        is_real_CT = torch.arange(vectors_CTE.size(1), device=lengths_C.device) < lengths_C[:, None]
        vectors_CTE = vectors_CTE.masked_fill(~is_real_CT[..., None], 0.0)
        return nn.functional.pad(vectors_CTE, (0, 0, 0, -vectors_CTE.size(1) % self.stride))
