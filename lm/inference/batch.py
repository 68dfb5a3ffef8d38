"""The prompts that are being continued at once: slots over one cache, which prompt is in each, what it has yielded.

A prompt that ends frees its slot for the next one; when none waits any more, the last rows are moved together. The
cache is as long as the longest row needs and no longer: attention reads all of it at every step.

Shapes: R rows, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .cached_llama import Cache, CachedLlama
from .cuda_graph import DecodeStep
from .sampling import Seeds, uniform

Ids = npt.NDArray[np.int32]

PADDING = 8  # prompts are padded to a multiple of this
PREFILL_TOKENS = 4096  # of prompts run at once, padding included


@dataclass
class DecodeSlots:
    """The slots of one `generate` call: which prompt is in each, how far it is, what it has yielded."""

    model: CachedLlama
    num_slots: int
    ends: npt.NDArray[np.int64]  # most tokens of each prompt and its answer together
    seeds: Seeds
    limits: list[int]
    has_graphs: bool
    cache: Cache = field(init=False)
    decode: DecodeStep | None = field(init=False)

    def __post_init__(self) -> None:
        longest = int(self.ends.max()) + PADDING if self.has_graphs else 1
        self.cache = self.model.new_cache(self.num_slots, longest)
        self.decode = DecodeStep(self.model, self.cache, self.num_slots) if self.has_graphs else None
        self.prompt = np.full(self.num_slots, -1)  # -1: the slot is free
        self.last = np.zeros(self.num_slots, dtype=np.int64)  # latest token, not yet in the cache
        self.position = np.zeros(self.num_slots, dtype=np.int64)  # where it goes
        self.count = np.zeros(self.num_slots, dtype=np.int64)
        self.new = np.zeros((self.num_slots, max(self.limits)), dtype=np.int32)

    @property
    def num_active(self) -> int:
        """Slots with a prompt."""
        return int((self.prompt >= 0).sum())

    @property
    def num_free(self) -> int:
        """Slots without one."""
        return self.num_slots - self.num_active

    def admit(
        self, taken: list[int], prompts: Sequence[npt.NDArray[np.integer]]
    ) -> tuple[npt.NDArray[np.int64], Tensor]:
        """Run prompts into free slots; returns the slots and the hidden state (R, D) after each prompt."""
        slots = np.flatnonzero(self.prompt < 0)[: len(taken)]
        self.prompt[slots], self.count[slots] = taken, 0
        self.position[slots] = [len(prompts[number]) for number in taken]
        self._fit(round_up(int(self.position[slots].max())))
        states, start = [], 0
        while start < len(taken):
            longest = round_up(len(prompts[taken[start]]))
            stop = start + 1
            while stop < len(taken):
                longest_with = max(longest, round_up(len(prompts[taken[stop]])))
                if longest_with * (stop + 1 - start) > PREFILL_TOKENS:
                    break
                longest, stop = longest_with, stop + 1
            group = [prompts[number] for number in taken[start:stop]]
            states.append(run_prompts(self.model, self.cache, group, slots[start:stop], longest))
            start = stop
        return slots, torch.cat(states)

    def step(self) -> tuple[npt.NDArray[np.int64], Tensor]:
        """Run the latest token of every slot; returns the occupied slots and their hidden states (R, D)."""
        ids = torch.from_numpy(self.last[: self.num_slots, None]).to(self.model.device)
        positions = torch.from_numpy(self.position[: self.num_slots, None]).to(self.model.device)
        length = int(self.position[: self.num_slots].max()) + 1
        self._fit(length)
        if self.decode is None:
            hidden = self.model.forward(ids, positions, self.cache, slice(0, self.num_slots), length)[:, 0]
        else:
            hidden = self.decode(ids, positions, length)
        rows = np.flatnonzero(self.prompt >= 0)
        self.position[rows] += 1
        return rows, hidden[torch.from_numpy(rows).to(hidden.device)]

    def _fit(self, length: int) -> None:
        """Make room in the cache for ``length`` positions, and give back room that no row can come to need."""
        if self.decode is not None:
            return
        most = int(self.ends[self.prompt[self.prompt >= 0]].max())
        if length > self.cache.length or most < self.cache.length:
            self.cache.fit(max(length, min(most, self.cache.length)))

    def uniform(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The random numbers for the next token of ``rows``."""
        return uniform(self.seeds[self.prompt[rows]], self.count[rows])

    def extend(self, rows: npt.NDArray[np.int64], ids: Ids, stop: Sequence[int]) -> Iterator[tuple[int, Ids]]:
        """Add one token to each of ``rows``; yields (prompt, all its new tokens) for those that end, and frees them."""
        self.new[rows, self.count[rows]] = ids
        self.last[rows] = ids
        self.count[rows] += 1
        limits = np.array([self.limits[number] for number in self.prompt[rows]])
        for row in rows[np.isin(ids, stop) | (self.count[rows] >= limits)]:
            yield int(self.prompt[row]), self.new[row, : self.count[row]].copy()
            self.prompt[row], self.position[row] = -1, 0

    def compact(self) -> None:
        """Move the occupied slots together once a quarter is free (nothing waits for a slot any more)."""
        rows = np.flatnonzero(self.prompt >= 0)
        if len(rows) > self.num_slots * 3 // 4 or self.decode is not None:
            return
        self.cache.move(torch.from_numpy(rows).to(self.model.device))
        for name in ("prompt", "last", "position", "count", "new"):
            setattr(self, name, getattr(self, name)[rows])
        self.num_slots = len(rows)


def run_prompts(
    model: CachedLlama,
    cache: Cache,
    prompts: Sequence[npt.NDArray[np.integer]],
    slots: npt.NDArray[np.int64],
    longest: int,
    starts: int = 0,
) -> Tensor:
    """Run prompts into cache rows ``slots`` from position ``starts`` on; the hidden state (R, D) after each.

    Rows are padded on the right to ``longest``: what padding leaves in the cache is masked until it is overwritten.
    """
    ids = np.zeros((len(prompts), longest), dtype=np.int64)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    positions = np.broadcast_to(np.arange(starts, starts + longest), ids.shape).copy()
    device = model.device
    hidden = model.forward(
        torch.from_numpy(ids).to(device),
        torch.from_numpy(positions).to(device),
        cache,
        torch.from_numpy(slots).to(device),
        starts + longest,
    )
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts], device=device)
    return hidden[torch.arange(len(prompts), device=device), ends]


def round_up(number: int, multiple: int = PADDING) -> int:
    """The next multiple."""
    return -(-number // multiple) * multiple
