"""One step of decoding on tensors that stay in place, recorded once as a CUDA graph and replayed for each token.

A small model's step is hundreds of short kernels: launching them takes longer than running them, a replayed graph
launches them at once. A graph is recorded for each length of the cache that attention reaches, up to a multiple of
`GRAPH_STEP`; the cache has its full length from the start and its rows stay where they are. On a CPU the same step runs
without a graph. The recording has not been run on a GPU yet.

Shapes: R rows, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .cached_llama import Cache, CachedLlama

GRAPH_STEP = 128
WARM_UP_RUNS = 3


class DecodeStep:
    """Runs the latest token of each row of a cache.

    Args:
        model: runs the tokens.
        cache: of all rows, at its full length.
        num_rows: R.
    """

    def __init__(self, model: CachedLlama, cache: Cache, num_rows: int) -> None:
        self.model, self.cache, self.num_rows = model, cache, num_rows
        self._ids_R1 = torch.zeros((num_rows, 1), dtype=torch.long, device=model.device)
        self._positions_R1 = torch.zeros_like(self._ids_R1)
        self._recorded: dict[int, tuple[torch.cuda.CUDAGraph, Tensor]] = {}

    def __call__(self, ids_R1: Tensor, positions_R1: Tensor, length: int) -> Tensor:
        """(R, 1) tokens and positions, one more than the greatest position -> hidden states (R, D)."""
        self._ids_R1.copy_(ids_R1)
        self._positions_R1.copy_(positions_R1)
        reach = min(-(-length // GRAPH_STEP) * GRAPH_STEP, self.cache.length)
        if self.model.device.type != "cuda":
            return self._run(reach)
        if reach not in self._recorded:
            self._recorded[reach] = self._record(reach)
        graph, hidden_RD = self._recorded[reach]
        graph.replay()
        return hidden_RD.clone()

    def _run(self, reach: int) -> Tensor:
        rows = slice(0, self.num_rows)
        return self.model.forward(self._ids_R1, self._positions_R1, self.cache, rows, reach)[:, 0]

    def _record(self, reach: int) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        """Run a few times (each writes the same keys and values), then record."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_RUNS):
                self._run(reach)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            hidden_RD = self._run(reach)
        return graph, hidden_RD
