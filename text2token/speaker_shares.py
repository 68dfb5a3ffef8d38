"""Speakers of synthetic speech and their shares, in proportion to the speech that the model was trained on.

A model speaks best in the voices it has heard most; drawn alike, three tags with 6 % of the training speech would speak
a fifth of a corpus of fifteen tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lm.data.vocabulary import Vocabulary
from runtime.errors import UserError

TRAINING, ALIKE = DRAWS = ("training", "alike")
NUM_SHOWN = 8  # speakers in a message
ROUNDING = 1e-9


class SpeakerShares(NamedTuple):
    """Speakers and their shares, which sum to 1, and where the shares come from, in words."""

    speakers: tuple[str, ...]
    shares: tuple[float, ...]
    source: str

    def __str__(self) -> str:
        ranked = sorted(zip(self.shares, self.speakers, strict=True), key=lambda pair: (-pair[0], pair[1]))
        named = ", ".join(f"{name} {share:.1%}" for share, name in ranked[:NUM_SHOWN])
        rest = f" and {len(ranked) - NUM_SHOWN} others" if len(ranked) > NUM_SHOWN else ""
        return f"{len(ranked)} speakers, {self.source}: {named}{rest}"


def speaker_shares(
    weights: Mapping[str, float],
    vocabulary: Vocabulary,
    *,
    draw: str = TRAINING,
    floor: float = 0.0,
    cap: float = 1.0,
) -> SpeakerShares:
    """The speakers and their shares.

    Args:
        weights: given by the user; none: by ``draw``.
        vocabulary: of the model; one that does not know its speakers' training speech draws alike.
        draw: one of ``DRAWS``.
        floor: smallest share of a speaker.
        cap: largest share of a speaker; the others share the rest in proportion.

    Raises:
        UserError: no speaker, one that the vocabulary does not know, a weight that is not a positive number, or bounds
            that no shares can keep.
    """
    if not (weights or vocabulary.speakers):
        found, remedy = "the vocabulary has no speaker", "make it from speech whose manifest names speakers"
        raise UserError("option speakers", found=found, remedy=remedy)
    for name, weight in weights.items():
        vocabulary.speaker_id(name)
        if not 0 < weight < float("inf"):
            found = f"a share of {weight}"
            raise UserError(f"option speakers.{name}", found=found, remedy="give a positive number")
    chosen, source = dict(weights), "as given"
    tokens = vocabulary.speaker_tokens
    if not chosen and draw == TRAINING and any(tokens.values()):
        chosen, source = {name: float(tokens[name]) for name in vocabulary.speakers}, "as in training"
    if not chosen:
        is_asked = draw == ALIKE
        source = "alike" if is_asked else "alike (the vocabulary does not know their training speech)"
        chosen = dict.fromkeys(vocabulary.speakers, 1.0)
    total = sum(chosen.values())
    shares = [weight / total for weight in chosen.values()]
    return SpeakerShares(tuple(chosen), tuple(bounded(shares, floor, cap)), source)


def voice_shares(weights: Mapping[str, float], voices: Sequence[str]) -> SpeakerShares:
    """The voices of a reader of texts and their shares; all alike where no weights are given.

    Raises:
        UserError: an unknown voice, or a weight that is not a positive number.
    """
    for name, weight in weights.items():
        if name not in voices:
            remedy = f"give some of {', '.join(voices[:NUM_SHOWN])}{', ...' if len(voices) > NUM_SHOWN else ''}"
            raise UserError(f"option speakers.{name}", found="no such voice", remedy=remedy)
        if not 0 < weight < float("inf"):
            found = f"a share of {weight}"
            raise UserError(f"option speakers.{name}", found=found, remedy="give a positive number")
    chosen = dict(weights) or dict.fromkeys(voices, 1.0)
    total = sum(chosen.values())
    shares = tuple(weight / total for weight in chosen.values())
    return SpeakerShares(tuple(chosen), shares, "as given" if weights else "alike")


def bounded(shares: list[float], floor: float, cap: float) -> list[float]:
    """Shares within [floor, cap] that still sum to 1: all are scaled by one factor, then held within the bounds."""
    if all(floor <= share <= cap for share in shares):
        return shares
    wanted = np.array(shares)
    most = np.where(wanted > 0, cap, floor).sum()
    if floor * len(shares) > 1 + ROUNDING or floor > cap:
        found = f"{floor:g} for each of {len(shares)} speakers"
        raise UserError("option speaker_floor", found=found, remedy=f"give at most {min(cap, 1 / len(shares)):.4g}")
    if most < 1 - ROUNDING:
        found = f"{cap:g} for each of {np.count_nonzero(wanted)} speakers with speech in training"
        raise UserError("option speaker_cap", found=found, remedy=f"give at least {1 / np.count_nonzero(wanted):.4g}")
    low, high = 0.0, 1.0 / wanted[wanted > 0].min()  # at the upper end every share with speech is at its cap
    for _ in range(100):
        factor = (low + high) / 2
        low, high = (factor, high) if np.clip(factor * wanted, floor, cap).sum() < 1 else (low, factor)
    found_shares = np.clip(high * wanted, floor, cap)
    return [float(share) for share in found_shares / found_shares.sum()]
