"""Hop modulation: the strength of a buzz at the vocoder's frame rate, from the roughness of the sound within a frame.

A vocoder makes its samples frame by frame. Where its frames carry the same phases again and again, their fine structure
adds up at the same places of each frame, and the sound buzzes at the frame rate (100 Hz). Spectral distances hardly
show it, their windows being longer than a frame. The profile does: the mean absolute second difference of the samples
(which weighs high frequencies, those that the ear separates in time) at each position within a frame, over the mean of
all positions. Recordings know no frames, so theirs is 1 everywhere but for the error of a finite mean.

  hop_modulation          standard deviation of the profile over the positions; 0 is no buzz
  hop_lowest, hop_highest the profile's extremes

The recordings' row is the floor for that amount of speech: about 0.01 for 5 minutes.

Shapes: S samples, P positions within a frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from corpus.audio.files import Samples


class HopRoughness(NamedTuple):
    """Roughness of one utterance by position within a frame: sums of absolute second differences, and their numbers.

    Attributes:
        sums: (P,).
        counts: (P,).
    """

    sums: npt.NDArray[np.float64]
    counts: npt.NDArray[np.int64]


def hop_modulation(audios: Iterable[Samples], hop: float) -> dict[str, float]:
    """The measures of a source, pooled over all its utterances; empty where there is no sound.

    Args:
        audios: (S,) each; the first sample is the first of a frame.
        hop: samples a frame; need not be whole (a sound of another rate that was resampled).
    """
    profile_P = hop_profile(audios, hop)
    return {} if profile_P is None else modulation_of(profile_P)


def modulation_of(profile_P: npt.NDArray[np.float64]) -> dict[str, float]:
    """The measures of a profile."""
    found = {
        "hop_modulation": profile_P.std(),
        "hop_lowest": profile_P.min(),
        "hop_highest": profile_P.max(),
    }
    return {name: float(f"{value:.6g}") for name, value in found.items()}


def hop_profile(audios: Iterable[Samples], hop: float) -> npt.NDArray[np.float64] | None:
    """Mean absolute second difference (P,) by position within a frame, over its mean; None where there is no sound."""
    positions = math.floor(hop)
    sums_P, counts_P = np.zeros(positions), np.zeros(positions)
    for audio in audios:
        found = hop_roughness(audio, hop)
        sums_P += found.sums
        counts_P += found.counts
    return profile_of(sums_P, counts_P)


def hop_roughness(audio: Samples, hop: float) -> HopRoughness:
    """The roughness of one utterance (S,) by position within a frame."""
    positions = math.floor(hop)
    roughness = np.abs(np.diff(audio.astype(np.float64), n=2))
    # A fractional hop's last position would be met less often: all are a little wider than a sample instead.
    place = np.arange(1, len(roughness) + 1) % hop * (positions / hop)
    position = np.minimum(place.astype(np.int64), positions - 1)
    sums_P = np.bincount(position, weights=roughness, minlength=positions)
    return HopRoughness(np.asarray(sums_P, dtype=np.float64), np.bincount(position, minlength=positions))


def profile_of(sums_P: npt.NDArray[Any], counts_P: npt.NDArray[Any]) -> npt.NDArray[np.float64] | None:
    """The profile (P,) of pooled sums and numbers; None where there is no sound."""
    if not sums_P.any() or not counts_P.all():
        return None
    profile_P = sums_P / counts_P
    return np.asarray(profile_P / profile_P.mean())
