"""Continuous batching: sequences on the rows of one key/value cache, each fed, continued and cut back at its own pace.

    batch = generator.batch(num_rows=8)
    batch.open(0)
    batch.feed(0, prompt)
    batch.ask(0, GenerationRequest(max_new_tokens=20, stop=(v.eos,), allowed="text"))
    while batch.has_work:
        for new in batch.step():
            print(new.row, new.token, new.is_last)

A step runs waiting prompt tokens of some rows in one product, of bounded size, so that a long prompt delays nobody for
long, and then the latest token of every row that generates. Rows join and leave at any step; what a row yields depends
on its own tokens and its own request only (see `lm.inference.cached_llama` for how far this goes).

Serving and bulk generation differ in their `BatchPolicy` alone.

Shapes: R rows, N ids that may come, D width.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from runtime.errors import UserError

from .cached_llama import Cache, CachedLlama, round_up
from .cuda_graph import DecodeStep
from .output_head import Allowed, OutputHeads
from .sampling import choose, uniform

Rows = npt.NDArray[np.int64]

FIRST_LENGTH = 256  # positions that a cache begins with in serving
MOST_IDLE_SHARE = 1 / 4  # of the rows may run without need rather than be left out: that copies the cache


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """The continuation of a row.

    Attributes:
        max_new_tokens: limit, the stop id included.
        stop: ids that end it; always allowed.
        allowed: text tokens, speech tokens, both, these ids, or any id but padding.
        temperature: 0 is greedy.
        top_p: nucleus mass.
        seed: of the sampling.
        is_speech_last: a speech token ends it, too.
        is_scored: the probabilities of the new tokens are wanted.
    """

    max_new_tokens: int
    stop: tuple[int, ...]
    allowed: Allowed | tuple[int, ...] = "any"
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    is_speech_last: bool = False
    is_scored: bool = False

    def is_sampled_like(self, other: GenerationRequest) -> bool:
        """Whether the next tokens of both can be chosen in one product."""

        def kind(one: GenerationRequest) -> tuple[object, ...]:
            return one.allowed, one.stop, one.temperature, one.top_p, one.is_speech_last, one.is_scored

        return kind(self) == kind(other)


class NewToken(NamedTuple):
    """A new token of a row.

    Attributes:
        row: its row.
        token: its id.
        is_last: its request is done.
        probability: the model's, among the ids that were allowed; nan where the request does not want it.
    """

    row: int
    token: int
    is_last: bool
    probability: float = math.nan


@dataclass(frozen=True, kw_only=True)
class BatchPolicy:
    """The trade of latency against throughput.

    Attributes:
        prompt_tokens: most prompt tokens run in one step, padding included.
        is_bulk: rows go on when no prompt waits, and the cache is always just as long as the longest row needs, because
            attention reads all of it. Otherwise rows go on in every step, and a cache that is too short is doubled, so
            that growing costs little.
        fixed_length: positions of a cache that never changes its shape, decoded by CUDA graphs; 0: none of this.
    """

    prompt_tokens: int = 256
    is_bulk: bool = False
    fixed_length: int = 0


class ContinuousBatch:
    """Sequences on the rows of one cache.

    A sequence is the tokens in the cache, and then either tokens that wait to be run (a prompt, or the last token of a
    finished request) or, while the row generates, its latest token.

    Args:
        model: runs the tokens.
        heads: of the model.
        num_rows: sequences that may be open at once.
        policy: of the steps.
    """

    def __init__(
        self, model: CachedLlama, heads: OutputHeads, num_rows: int, policy: BatchPolicy | None = None
    ) -> None:
        self.model, self.heads, self.num_rows = model, heads, num_rows
        self.policy = policy or BatchPolicy()
        self._turn = 0  # the row whose prompt is looked at first
        self._num_kinds = 0
        self._is_open = np.zeros(num_rows, dtype=bool)
        self._done = np.zeros(num_rows, dtype=np.int64)  # tokens in the cache
        self._end = np.zeros(num_rows, dtype=np.int64)  # tokens there may come to be
        self._is_going = np.zeros(num_rows, dtype=bool)  # generates; its latest token is not in the cache yet
        self._latest = np.zeros(num_rows, dtype=np.int64)
        self._made = np.zeros(num_rows, dtype=np.int64)  # tokens of the request
        self._limit = np.zeros(num_rows, dtype=np.int64)
        self._seed = np.zeros(num_rows, dtype=np.uint64)
        self._kind = np.zeros(num_rows, dtype=np.int64)  # rows of one number are sampled alike
        self._request: list[GenerationRequest | None] = [None] * num_rows
        self._waiting: list[list[int]] = [[] for _ in range(num_rows)]  # tokens to run before it goes on
        self._cache, self._decode = self._new_cache()

    def _new_cache(self) -> tuple[Cache, DecodeStep | None]:
        if self.policy.fixed_length:
            cache = self.model.new_cache(self.num_rows, self.policy.fixed_length)
            return cache, DecodeStep(self.model, cache, self.num_rows)
        first = 1 if self.policy.is_bulk else min(FIRST_LENGTH, self.model.max_length)
        return self.model.new_cache(self.num_rows, first), None

    @property
    def num_open(self) -> int:
        """Rows with a sequence."""
        return int(self._is_open.sum())

    @property
    def free_rows(self) -> Rows:
        """Rows without one, in ascending order."""
        return np.flatnonzero(~self._is_open)

    @property
    def has_work(self) -> bool:
        """Whether a step would run something."""
        return bool(self._is_going.any()) or any(self._num_runnable(row) for row in range(self.num_rows))

    @property
    def cache_length(self) -> int:
        """Positions that the cache has room for."""
        return self._cache.length

    def length(self, row: int) -> int:
        """Tokens of a sequence."""
        return int(self._done[row]) + len(self._waiting[row]) + int(self._is_going[row])

    # -- sequences ----------------------------------------------------------------------------------------------

    def open(self, row: int) -> None:
        """A new, empty sequence in a row that is free."""
        assert 0 <= row < self.num_rows and not self._is_open[row]
        self._is_open[row], self._done[row], self._end[row] = True, 0, 0

    def close(self, row: int) -> None:
        """Free a row; a cache that grew by doubling is small again once none is open."""
        assert self._is_open[row]
        self._stop(row)
        self._waiting[row] = []
        self._is_open[row], self._done[row] = False, 0
        is_doubled = not self.policy.is_bulk and not self.policy.fixed_length
        if is_doubled and not self.num_open and self._cache.length > FIRST_LENGTH:
            self._cache, self._decode = self._new_cache()

    def feed(self, row: int, ids: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Add tokens to a sequence; steps run them, all but the last where nothing is asked.

        Raises:
            UserError: the model has not that many positions.
        """
        assert self._is_open[row]
        self.model.check_length(self.length(row) + len(ids))
        if self._is_going[row]:
            self._is_going[row] = False
            self._waiting[row] = [int(self._latest[row])]
        self._waiting[row] += [int(id) for id in ids]
        self._end[row] = max(self._end[row], self.length(row))

    def ask(self, row: int, request: GenerationRequest) -> None:
        """Let a sequence be continued.

        Raises:
            UserError: it is empty, or the model has not that many positions.
        """
        assert self._is_open[row]
        waiting = self._waiting[row]
        if not waiting and not self._is_going[row]:
            raise UserError("the sequence", found="nothing to continue", remedy="feed it tokens first")
        self._end[row] = self.length(row) + request.max_new_tokens
        self.model.check_length(int(self._end[row]))
        alike = (other for other in range(self.num_rows) if self._is_alike(other, request))
        kind = next((int(self._kind[other]) for other in alike), None)
        if kind is None:
            kind, self._num_kinds = self._num_kinds, self._num_kinds + 1
        self._kind[row], self._request[row] = kind, request
        self._made[row], self._limit[row] = 0, request.max_new_tokens
        self._seed[row] = request.seed % (1 << 64)
        if len(waiting) == 1 and waiting[0] < self.model.num_embeddings:  # a lent vector runs as a prompt does
            self._latest[row], self._is_going[row] = waiting.pop(), True

    def _is_alike(self, row: int, request: GenerationRequest) -> bool:
        other = self._request[row]
        return other is not None and request.is_sampled_like(other)

    def _stop(self, row: int) -> None:
        """End the request of a row; its latest token stays in the sequence."""
        self._request[row] = None
        if self._is_going[row]:
            self._is_going[row] = False
            self._waiting[row] = [int(self._latest[row])]

    def cancel_all(self) -> None:
        """Give up what was asked of every row."""
        for row in range(self.num_rows):
            self._stop(row)

    def cut(self, row: int, length: int) -> None:
        """Keep the first ``length`` tokens of a sequence; what was asked of it is given up.

        The last token that is kept may be fed again to go on from there: a sequence all of whose tokens are in the
        cache has nothing to continue.
        """
        self._stop(row)
        if length < self._done[row]:
            self._waiting[row], self._done[row] = [], length
        else:
            del self._waiting[row][length - int(self._done[row]) :]

    def compact(self) -> Rows:
        """Move the open rows together once `MOST_IDLE_SHARE` is free; the numbers that the rows had before.

        For bulk generation, when nothing waits for a free row any more.
        """
        kept = np.flatnonzero(self._is_open)
        if len(kept) > self.num_rows * (1 - MOST_IDLE_SHARE) or self._decode is not None:
            return np.arange(self.num_rows)
        self._cache.move(torch.from_numpy(kept).to(self.model.device))
        for name in ("_is_open", "_done", "_end", "_is_going", "_latest", "_made", "_limit", "_seed", "_kind"):
            setattr(self, name, getattr(self, name)[kept])
        self._request = [self._request[row] for row in kept]
        self._waiting = [self._waiting[row] for row in kept]
        self.num_rows, self._turn = len(kept), 0
        return kept

    # -- steps --------------------------------------------------------------------------------------------------

    @torch.inference_mode()
    def step(self) -> list[NewToken]:
        """Run waiting prompt tokens, and the latest token of every row that generates; the new tokens."""
        rows, states = np.zeros(0, dtype=np.int64), []
        going, prompted = np.flatnonzero(self._is_going), self._next_prompts()
        if len(prompted) and self.policy.is_bulk:
            going = going[:0]
        if len(prompted):
            hidden_RD = self._run_prompts(prompted)
            is_read = [self._request[row] is not None and not self._waiting[row] for row in prompted]
            rows = prompted[is_read]
            states.append(hidden_RD[torch.tensor(is_read, device=hidden_RD.device)])
        if len(going):
            rows = np.concatenate([rows, going])
            states.append(self._run_latest(going))
        return self._choose(rows, torch.cat(states)) if len(rows) else []

    def _num_runnable(self, row: int) -> int:
        """Tokens of a prompt that can be run now: all where something is asked, else all but the last."""
        return len(self._waiting[row]) - (self._request[row] is None and bool(self._waiting[row]))

    def _next_prompts(self) -> Rows:
        """The rows whose prompts are run next: those that are asked come first, in turn.

        One product takes rows that are as far in the cache as the first of them, as many as `BatchPolicy` allows.
        """
        waiting = [row for row, ids in enumerate(self._waiting) if ids and self._num_runnable(row)]
        if not waiting:
            return np.zeros(0, dtype=np.int64)
        waiting.sort(key=lambda row: (self._request[row] is None, (row - self._turn) % self.num_rows))
        first, taken, longest = waiting[0], 0, 0
        self._turn = (first + 1) % self.num_rows
        for row in waiting:
            longest = max(longest, round_up(self._num_runnable(row)))
            if self._done[row] != self._done[first] or longest * (taken + 1) > self.policy.prompt_tokens:
                break
            taken += 1
        return np.array(waiting[: max(taken, 1)])

    def _run_prompts(self, rows: Rows) -> Tensor:
        """Run the next pieces of these rows' prompts; the hidden states (R, D) after them."""
        counts = [min(self._num_runnable(row), self.policy.prompt_tokens) for row in rows]
        start, longest = int(self._done[rows[0]]), max(counts)
        padded = 1 if longest == 1 else round_up(longest)
        self._fit(start + padded)
        pieces = [np.array(self._waiting[row][:count]) for row, count in zip(rows, counts, strict=True)]
        hidden_RPD = self.model.forward_padded(pieces, self._cache, rows, padded, start)
        for row, count in zip(rows, counts, strict=True):
            del self._waiting[row][:count]
        self._done[rows] += counts
        ends = torch.tensor(counts, device=hidden_RPD.device) - 1
        return hidden_RPD[torch.arange(len(rows), device=ends.device), ends]

    def _run_latest(self, going: Rows) -> Tensor:
        """Run the latest token of these rows; their hidden states (R, D).

        All rows up to the last are run where few of them are idle: what an idle row leaves in the cache stands at its
        next position and is masked until that is written.
        """
        span = self.num_rows if self._decode is not None else int(going[-1]) + 1
        reach = int(self._done[:span].max()) + 1
        is_whole = span - len(going) <= span * MOST_IDLE_SHARE and reach <= self.model.max_length
        if not is_whole and self._decode is None:
            reach = int(self._done[going].max()) + 1
        self._fit(reach)
        device = self.model.device
        rows = np.arange(span) if is_whole or self._decode is not None else going
        ids_R1 = torch.from_numpy(self._latest[rows, None]).to(device)
        positions_R1 = torch.from_numpy(self._done[rows, None]).to(device)
        if self._decode is not None:
            hidden_RD = self._decode(ids_R1, positions_R1, reach)
        else:
            where = slice(0, span) if is_whole else torch.from_numpy(going).to(device)
            hidden_RD = self.model.forward(ids_R1, positions_R1, self._cache, where, reach)[:, 0]
        self._done[going] += 1
        return hidden_RD if len(rows) == len(going) else hidden_RD[torch.from_numpy(going).to(device)]

    def _choose(self, rows: Rows, hidden_RD: Tensor) -> list[NewToken]:
        """The next token of rows, each by its request."""
        alike: defaultdict[int, list[int]] = defaultdict(list)
        for at, kind in enumerate(self._kind[rows].tolist()):
            alike[kind].append(at)
        tokens, is_last = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=bool)
        probabilities = np.full(len(rows), math.nan)
        for places in alike.values():
            request = self._request[rows[places[0]]]
            assert request is not None
            head, ids_N = self.heads(request.allowed, request.stop)
            chosen_rows = rows[places]
            scores_RN = self.model.logits(hidden_RD if len(alike) == 1 else hidden_RD[places], head)
            draws = uniform(self._seed[chosen_rows], self._made[chosen_rows])
            index = choose(scores_RN, request.temperature, request.top_p, draws)
            tokens[places] = new = ids_N[index.cpu().numpy()]
            if request.is_scored:
                shares_RN = scores_RN.float().softmax(-1)
                probabilities[places] = shares_RN.gather(1, index.view(-1, 1))[:, 0].cpu().numpy()
            is_last[places] = np.isin(new, request.stop)
            if request.is_speech_last:
                is_last[places] |= self.heads.vocabulary.is_speech(new)
        self._latest[rows], self._is_going[rows] = tokens, True
        self._made[rows] += 1
        is_last |= self._made[rows] >= self._limit[rows]
        for row in rows[is_last]:
            self._stop(int(row))
        columns = rows.tolist(), tokens.tolist(), is_last.tolist(), probabilities.tolist()
        return list(map(NewToken._make, zip(*columns, strict=True)))

    def _fit(self, length: int) -> None:
        """Make room in the cache for ``length`` positions, by the policy."""
        if self._decode is not None:
            return
        if self.policy.is_bulk:
            most = int(self._end[self._is_open].max())
            if length > self._cache.length or most < self._cache.length:
                self._cache.fit(max(length, min(most, self._cache.length)))
        elif length > self._cache.length:
            self._cache.fit(max(length, min(2 * length, round_up(self.model.max_length))))
