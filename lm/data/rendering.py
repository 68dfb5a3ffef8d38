"""Documents in readable form: text, special tokens by name, runs of speech folded, targets of the loss marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .vocabulary import Vocabulary


class RenderedRun(NamedTuple):
    """Neighbouring ids of one kind, as text, and whether they count in the loss."""

    text: str
    kind: Literal["text", "speech", "special"]
    is_target: bool


def runs(
    ids: npt.NDArray[np.integer] | Sequence[int],
    vocabulary: Vocabulary,
    *,
    mask: npt.NDArray[np.integer] | None = None,
    num_shown: int = 3,
) -> Iterator[RenderedRun]:
    """A document's runs of text, of speech (``‹24 speech: 7 7 31 …›``), and its special tokens one by one.

    Args:
        ids: one row of tokens (T,).
        vocabulary: theirs.
        mask: (T,), 1 for targets of the loss; a run ends where it changes. None: all alike.
        num_shown: codes of each run of speech that are shown.
    """
    row = np.asarray(ids, dtype=np.int64)
    targets = np.ones(len(row), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    kind = np.where(vocabulary.is_speech(row), 1, np.where(vocabulary.is_text(row), 0, 2))
    edges = np.flatnonzero((np.diff(kind) != 0) | (np.diff(targets) != 0)) + 1
    for start, stop in zip([0, *edges], [*edges, len(row)], strict=True) if len(row) else ():
        run, is_target = row[start:stop], bool(targets[start])
        if kind[start] == 1:
            codes = vocabulary.codes(run)
            if vocabulary.num_speech_tokens == 1:  # places of vectors
                yield RenderedRun(f"‹{len(codes)} vectors›", "speech", is_target)
                continue
            shown = " ".join(map(str, codes[:num_shown])) + (" …" if len(codes) > num_shown else "")
            yield RenderedRun(f"‹{len(codes)} speech: {shown}›", "speech", is_target)
        elif kind[start] == 0:
            yield RenderedRun(vocabulary.decode_text(run), "text", is_target)
        else:
            yield from (RenderedRun(vocabulary.token(int(id)), "special", is_target) for id in run)


def render(ids: npt.NDArray[np.integer] | Sequence[int], vocabulary: Vocabulary, *, num_shown: int = 3) -> str:
    """A document as one line: the texts of its `runs`."""
    return " ".join(run.text for run in runs(ids, vocabulary, num_shown=num_shown))
