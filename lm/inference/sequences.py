"""Sequences on one model, each fed, continued and cut back at its own pace: continuous batching over rows of one cache.

    sequences = Sequences(generator, num_rows=8)
    sequences.open(0)
    sequences.feed(0, prompt)
    sequences.ask(0, Ask(max_new_tokens=20, stop=(v.eos,), allowed="text"))
    while sequences.has_work:
        for made in sequences.step():
            print(made.row, made.token, made.is_last)

A step runs one piece of one row's waiting prompt, so that a long prompt holds nobody up for long, and then one token of
every row that generates. Rows join and leave at any step; what a row yields depends on its own tokens and its own `Ask`
only (see `lm.inference.cached_llama` for how far this goes).

Shapes: R rows, D width.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

from .batch import round_up, run_prompts
from .generation import Allowed, Generator
from .sampling import choose, uniform

PIECE_TOKENS = 256  # of a prompt run in one step
FIRST_LENGTH = 256  # positions that the cache begins with


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a row shall generate.

    Attributes:
        max_new_tokens: at most so many tokens, the stop id included.
        stop: ids that end it; always allowed.
        allowed: what may come: text tokens, speech tokens, both, these ids, or any id but padding.
        temperature: 0 is greedy.
        top_p: nucleus mass.
        seed: of the sampling.
        is_speech_last: a speech token ends it, too.
    """

    max_new_tokens: int
    stop: tuple[int, ...]
    allowed: Allowed | tuple[int, ...] = "any"
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    is_speech_last: bool = False


class Made(NamedTuple):
    """A new token of a row; ``is_last`` where its `Ask` is done."""

    row: int
    token: int
    is_last: bool


@dataclass
class SequenceRow:
    """One sequence: ``done`` tokens are in the cache, ``pending`` ones are not yet; ``made`` were made for ``ask``."""

    pending: list[int] = field(default_factory=list)
    done: int = 0
    ask: Ask | None = None
    made: int = 0

    @property
    def length(self) -> int:
        """Tokens of the sequence."""
        return self.done + len(self.pending)

    @property
    def num_runnable(self) -> int:
        """Tokens of a prompt that can be run now: all where something is asked, else all but the last."""
        return len(self.pending) if self.ask else max(len(self.pending) - 1, 0)


class ContinuousBatch:
    """The rows.

    Args:
        generator: the model.
        num_rows: sequences that may be open at once.
    """

    def __init__(self, generator: Generator, num_rows: int) -> None:
        self.generator, self.num_rows = generator, num_rows
        self.rows: dict[int, SequenceRow] = {}
        self._next = 0  # the row whose prompt is looked at first
        self._start()

    def _start(self) -> None:
        model = self.generator.model
        self._cache = model.new_cache(self.num_rows, min(FIRST_LENGTH, model.max_length))

    @property
    def has_work(self) -> bool:
        """Whether a step would run something."""
        return any(row.num_runnable for row in self.rows.values())

    def open(self, number: int) -> None:
        """A new, empty sequence in a row that is free."""
        assert 0 <= number < self.num_rows and number not in self.rows
        self.rows[number] = SequenceRow()

    def close(self, number: int) -> None:
        """Free a row; the cache shrinks again once none is open."""
        del self.rows[number]
        if not self.rows and self._cache.length > FIRST_LENGTH:
            self._start()

    def feed(self, number: int, ids: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Add tokens to a sequence; steps run them, all but the last where nothing is asked.

        Raises:
            UserError: the model has not that many positions.
        """
        row = self.rows[number]
        self.generator.model.check_length(row.length + len(ids))
        row.pending += [int(id) for id in ids]

    def ask(self, number: int, ask: Ask) -> None:
        """Let a sequence be continued.

        Raises:
            UserError: it is empty, or the model has not that many positions.
        """
        row = self.rows[number]
        if not row.pending:
            raise UserError("the sequence", found="nothing to continue", remedy="feed it tokens first")
        self.generator.model.check_length(row.length + ask.max_new_tokens)
        row.ask, row.made = ask, 0

    def cut(self, number: int, length: int) -> None:
        """Keep the first ``length`` tokens of a sequence; what was asked of it is given up.

        The last token that is kept may be fed again to go on from there: a sequence all of whose tokens are in the
        cache has nothing to continue.
        """
        row = self.rows[number]
        row.ask = None
        if length < row.done:
            row.pending, row.done = [], length
        else:
            del row.pending[length - row.done :]

    @torch.inference_mode()
    def step(self) -> list[Made]:
        """Run a piece of one prompt, and the latest token of every row that generates; the new tokens."""
        states: list[tuple[int, Tensor]] = []
        prompted = self._next_prompt()
        if prompted is not None:
            hidden_1D = self._run_piece(prompted)
            row = self.rows[prompted]
            if row.ask and not row.pending:
                states.append((prompted, hidden_1D[0]))
        going = [n for n, row in self.rows.items() if n != prompted and row.ask and len(row.pending) == 1]
        if going:
            states += zip(going, self._run_latest(going), strict=True)
        return self._choose(states)

    def _next_prompt(self) -> int | None:
        """The row whose prompt is run next: those that are asked come first, in turn."""
        turn = sorted(self.rows, key=lambda n: (self.rows[n].ask is None, (n - self._next) % self.num_rows))
        for number in turn:
            row = self.rows[number]
            if row.num_runnable > 1 or (row.num_runnable == 1 and not row.ask):
                self._next = (number + 1) % self.num_rows
                return number
        return None

    def _run_piece(self, number: int) -> Tensor:
        """Run the next piece of a row's prompt; the hidden state (1, D) after it."""
        row = self.rows[number]
        count = min(row.num_runnable, PIECE_TOKENS)
        padded = 1 if count == 1 else round_up(count)
        self._fit(row.done + padded)
        piece = np.array(row.pending[:count], dtype=np.int64)
        hidden_1D = run_prompts(self.generator.model, self._cache, [piece], np.array([number]), padded, row.done)
        del row.pending[:count]
        row.done += count
        return hidden_1D

    def _run_latest(self, numbers: list[int]) -> Tensor:
        """Run the one pending token of each of these rows; their hidden states (R, D)."""
        model, rows = self.generator.model, [self.rows[number] for number in numbers]
        length = max(row.done for row in rows) + 1
        self._fit(length)
        ids_R1 = torch.tensor([row.pending for row in rows], device=model.device)
        positions_R1 = torch.tensor([[row.done] for row in rows], device=model.device)
        hidden_R1D = model.forward(
            ids_R1, positions_R1, self._cache, torch.tensor(numbers, device=model.device), length
        )
        for row in rows:
            row.pending.clear()
            row.done += 1
        return hidden_R1D[:, 0]

    def _choose(self, states: list[tuple[int, Tensor]]) -> list[Made]:
        """The next token of rows, each by its `Ask`, from their hidden states (D,)."""
        alike: defaultdict[tuple[object, ...], list[tuple[int, Tensor]]] = defaultdict(list)
        for number, hidden_D in states:
            ask = self.rows[number].ask
            assert ask is not None
            alike[ask.allowed, ask.stop, ask.temperature, ask.top_p].append((number, hidden_D))
        made = []
        for group in alike.values():
            asks = [ask for number, _ in group if (ask := self.rows[number].ask)]
            first = asks[0]
            head, ids_N = self.generator.head(first.allowed, first.stop)
            scores_RN = self.generator.model.logits(torch.stack([hidden_D for _, hidden_D in group]), head)
            seeds = np.array([ask.seed % (1 << 64) for ask in asks], dtype=np.uint64)
            steps = np.array([self.rows[number].made for number, _ in group])
            chosen = choose(scores_RN, first.temperature, first.top_p, uniform(seeds, steps)).cpu().numpy()
            for (number, _), token in zip(group, ids_N[chosen].tolist(), strict=True):
                row = self.rows[number]
                row.pending.append(token)
                row.made += 1
                is_last = row.ask is None or is_end(row.ask, row.made, token, self.generator.vocabulary)
                if is_last:
                    row.ask = None
                made.append(Made(number, token, is_last))
        return made

    def _fit(self, length: int) -> None:
        """Room for ``length`` positions, doubled each time, so that growing costs little."""
        if length > self._cache.length:
            most = round_up(self.generator.model.max_length)
            self._cache.fit(max(length, min(2 * length, most)))


def is_end(ask: Ask, made: int, token: int, vocabulary: Vocabulary) -> bool:
    """Whether ``token``, number ``made`` of those asked for, is the last."""
    is_spoken = ask.is_speech_last and bool(vocabulary.is_speech(token))
    return token in ask.stop or made >= ask.max_new_tokens or is_spoken
