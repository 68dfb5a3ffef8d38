"""Truncation of dialogues: whole turns, the oldest left out first, the system prompt always kept.

Training (`chatbot.prepare`) and serving call this one function, so that a model meets in use what it has learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .formats import Ids


def first_kept(lengths: Sequence[int], budget: int) -> int:
    """The number of the first turn that is kept, so that it and all later ones take at most ``budget`` tokens.

    Args:
        lengths: tokens of each turn, in order.
        budget: tokens that the turns may take together.

    Returns:
        0 where all fit, ``len(lengths)`` where not even the last does.
    """
    room = budget
    for number in range(len(lengths) - 1, -1, -1):
        room -= lengths[number]
        if room < 0:
            return number + 1
    return 0


def cut_history(turns: Sequence[Ids], budget: int, *, system: Ids | None = None) -> Ids:
    """A dialogue's row of ids within ``budget`` tokens: the system prompt, then the newest turns that fit.

    Args:
        turns: question and reply of each turn (`lm.data.formats.chat_prompt` and `chat_reply`), in order.
        budget: most tokens of the row; serving leaves room for the question and the reply that are to come.
        system: `lm.data.formats.system_row`; kept, and counted, also where no turn fits with it.
    """
    head = np.zeros(0, dtype=np.int32) if system is None else system
    kept = turns[first_kept([len(turn) for turn in turns], budget - len(head)) :]
    return np.concatenate([head, *kept]).astype(np.int32)
