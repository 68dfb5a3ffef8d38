"""Order of the data: length-bucketed batches as a pure function of (seed, step), so that a resumed run goes on.

lhotse's DynamicBucketingSampler buckets as well, but its place is the state of a shuffle buffer that a resumed run has
to replay; here the batch of any step is known from (seed, step) alone, for one source or several by weight.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np

Item = TypeVar("Item")
GOLDEN_RATIO = (5**0.5 - 1) / 2
LENGTH_JITTER = 0.15  # relative; mixes the neighbours in length anew in each epoch


class Batches:
    """Batches of rows of like length.

    Args:
        lengths: of each row, in tokens.
        budget: tokens of a batch, padding included.
        seed: with the epoch it decides the order.
    """

    def __init__(self, lengths: Sequence[int], budget: int, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.budget, self.seed = budget, seed
        self.starts = [0]  # first step of each epoch known so far
        self.current: tuple[int, list[list[int]]] = (-1, [])
        self.lock = threading.Lock()  # loader threads share the object

    def at(self, step: int) -> list[int]:
        """The rows of ``step``."""
        with self.lock:
            while self.starts[-1] <= step:
                self.starts.append(self.starts[-1] + len(self.epoch(len(self.starts) - 1)))
            epoch = int(np.searchsorted(self.starts, step, side="right")) - 1
            return self.epoch(epoch)[step - self.starts[epoch]]

    def epoch(self, epoch: int) -> list[list[int]]:
        """All batches of an epoch: each row once."""
        if self.current[0] != epoch:
            random = np.random.default_rng((self.seed, epoch))
            noise = 1 + LENGTH_JITTER * random.random(len(self.lengths))
            batches = self._pack(np.argsort(self.lengths * noise, kind="stable").tolist())
            self.current = (epoch, [batches[at] for at in random.permutation(len(batches))])
        return self.current[1]

    def _pack(self, rows: list[int]) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        longest = 0
        for row in rows:
            longest = max(longest, int(self.lengths[row]))
            if batches[-1] and (len(batches[-1]) + 1) * longest > self.budget:
                batches.append([])
                longest = int(self.lengths[row])
            batches[-1].append(row)
        return batches


class SourceMixture:
    """Mixture of sources by weight: the source of a step's batch, evenly spread, as a pure function of the step.

    Step s falls to the source in whose share of [0, 1) the s-th number of a golden-ratio sequence lies, so that after
    n steps each source has had its share of them up to a few, in no fixed rhythm (ranks meet each source alike).
    """

    def __init__(self, weights: Sequence[float]) -> None:
        self.ends = np.cumsum(weights) / np.sum(weights)
        self.sources = np.zeros(0, dtype=np.int64)  # of the steps known so far
        self.places = np.zeros(0, dtype=np.int64)
        self.lock = threading.Lock()

    def at(self, step: int) -> tuple[int, int]:
        """The source of ``step``, and the number of its batches before."""
        with self.lock:
            if step >= len(self.sources):
                self._extend(2 * step + 1024)
            return int(self.sources[step]), int(self.places[step])

    def _extend(self, count: int) -> None:
        points = np.arange(count) * GOLDEN_RATIO % 1.0
        self.sources = np.minimum(np.searchsorted(self.ends, points, side="right"), len(self.ends) - 1)
        self.places = np.zeros(count, dtype=np.int64)
        for source in range(len(self.ends)):
            rows = np.flatnonzero(self.sources == source)
            self.places[rows] = np.arange(len(rows))


class Prefetcher(Generic[Item]):
    """``load(step)``, with the next steps loaded ahead by threads; the same results in the same order."""

    def __init__(self, load: Callable[[int], Item], workers: int) -> None:
        self.load, self.workers = load, workers
        self.pool = ThreadPoolExecutor(workers) if workers else None
        self.pending: dict[int, Future[Item]] = {}

    def __call__(self, step: int) -> Item:
        """The item of ``step``."""
        if self.pool is None:
            return self.load(step)
        for later in range(step, step + self.workers + 1):
            if later not in self.pending:
                self.pending[later] = self.pool.submit(self.load, later)
        return self.pending.pop(step).result()
