"""Log-probabilities of given tokens: the contract of the models that score, and the ids among which a token is scored.

The built-in generation (`lm.inference.generation`), transformers (`lm.inference.hf_likelihood`) and a Megatron
checkpoint under a parallel layout (`lm.inference.megatron_likelihood`) give the same numbers.

Shapes: R rows, T tokens of a row, V ids of the model's head, K kinds of targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lm.data.vocabulary import Ids, Vocabulary

TargetModality = Literal["any", "text", "speech", "own"]
LogProbabilities = npt.NDArray[np.float64]

ANY, TEXT, SPEECH = range(3)  # kinds of targets


class LikelihoodModel(Protocol):
    """A model that gives log p(token | all tokens before it), whatever is scored with it."""

    @property
    def max_length(self) -> int:
        """Most tokens of a row."""
        ...

    def log_probabilities(self, rows: Sequence[Ids], modality: TargetModality = "any") -> list[LogProbabilities]:
        """Of each row (T,) the log-probabilities (T - 1,) in nats of its tokens from the second on.

        Args:
            rows: ids, in any order and of any lengths.
            modality: ids among which a token is scored, the others at -inf: all (``any``), special tokens and
                ``text`` or ``speech``, or those and the ids of the token's ``own`` modality (special tokens: all).

        Raises:
            UserError: a row is longer than the model's positions.
        """
        ...


class TargetIds:
    """The ids among which each target is scored.

    Args:
        vocabulary: of the model; None for a text model without speech tokens.
        num_ids: V; ids beyond the vocabulary are padding and never come.
        modality: see `LikelihoodModel.log_probabilities`.
    """

    def __init__(self, vocabulary: Vocabulary | None, num_ids: int, modality: TargetModality) -> None:
        every = np.arange(num_ids)
        is_id = every < (num_ids if vocabulary is None else vocabulary.size)
        is_text = np.zeros(num_ids, dtype=bool) if vocabulary is None else vocabulary.is_text(every) & is_id
        is_speech = np.zeros(num_ids, dtype=bool) if vocabulary is None else vocabulary.is_speech(every)
        assert vocabulary is not None or modality == "any"
        allowed_KV = np.stack([is_id, is_id & ~is_speech, is_id & ~is_text])
        kinds = {"any": ANY, "text": TEXT, "speech": SPEECH}
        if modality == "own":
            kind_V = np.select([is_text, is_speech], [TEXT, SPEECH], ANY)
        else:
            kind_V = np.full(num_ids, kinds[modality])
        self._kind_V, self._is_refused_KV = torch.from_numpy(kind_V), torch.from_numpy(~allowed_KV)

    def mask_(self, logits: Tensor, targets: Tensor, first_id: int = 0) -> Tensor:
        """Set the scores of refused ids to -inf, in place.

        Args:
            logits: (..., N) scores of N neighbouring ids.
            targets: (...) ids, of which each is scored.
            first_id: the first of the N ids.
        """
        kinds = self._kind_V[targets.cpu()]
        columns_KN = self._is_refused_KV[:, first_id : first_id + logits.shape[-1]]
        for kind in range(len(columns_KN)):
            at = kinds == kind
            if columns_KN[kind].any() and at.any():
                refused = at[..., None].to(logits.device) & columns_KN[kind].to(logits.device)
                logits.masked_fill_(refused, float("-inf"))
        return logits


def length_buckets(lengths: Sequence[int], most_tokens: int, multiple: int = 1) -> list[list[int]]:
    """Row numbers in batches of alike lengths, the longest first; a batch has ``most_tokens``, padding included.

    Args:
        lengths: of the rows.
        most_tokens: of a batch; a longer row is alone.
        multiple: rows are padded to one.
    """
    queue = sorted(range(len(lengths)), key=lambda number: (lengths[number], number))
    batches: list[list[int]] = []
    while queue:
        padded = -(-lengths[queue[-1]] // multiple) * multiple
        batches.append(queue[-max(most_tokens // max(padded, 1), 1) :][::-1])
        del queue[-len(batches[-1]) :]
    return batches


def padded_rows(rows: Sequence[Ids], length: int) -> Tensor:
    """Rows padded on the right with id 0, which causal attention never lets them see: (R, length) int64."""
    ids_RT = torch.zeros((len(rows), length), dtype=torch.long)
    for number, row in enumerate(rows):
        ids_RT[number, : len(row)] = torch.from_numpy(np.asarray(row, dtype=np.int64))
    return ids_RT


def target_log_probabilities(logits_TV: Tensor, targets_T: Tensor, scored: TargetIds) -> Tensor:
    """The log-probability (T,) in fp32 of each target under its scores; the scores are overwritten."""
    masked_TV = scored.mask_(logits_TV, targets_T)
    return masked_TV.log_softmax(-1).gather(-1, targets_T[:, None])[:, 0]
