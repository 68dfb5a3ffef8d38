"""Additive noise at a given SNR: white, pink, or babble of the corpus's own voices; deterministic for each seed.

SNR is of the whole utterance: 10 log10(mean square of the speech / mean square of the noise). The same noise, only
louder or softer, goes over an utterance at every SNR.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from .files import Samples

NOISE_KINDS = ("white", "pink", "babble")
BABBLE_VOICES = 6  # at once; our choice


def make_noise(kind: str, id: str, num_samples: int, others: Sequence[Samples], seed: int) -> Samples:
    """(S,) noise of mean square 1 for the utterance ``id``.

    Args:
        kind: one of `NOISE_KINDS`.
        id: of the utterance; every random draw depends on it, on ``seed`` and on ``kind`` alone.
        num_samples: S.
        others: utterances that babble is made of, each (S',); used for babble only.
        seed: of the draws.
    """
    random = named_generator(seed, f"{kind} {id}")
    if kind == "white":
        noise = random.standard_normal(num_samples)
    elif kind == "pink":
        noise = pink(num_samples, random)
    else:
        noise = babble(num_samples, others, random)
    return unit_power(noise).astype(np.float32)


def named_generator(seed: int, name: str) -> np.random.Generator:
    """A random generator for one purpose, e.g. the noise of one utterance: equal for equal seeds and names."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def add_noise(audio: Samples, noise: Samples, snr_db: float, *, lead: int = 0) -> Samples:
    """(N,) noise of mean square 1 scaled to the SNR, the (S,) audio in it from sample ``lead`` on.

    A silent audio stays silent.
    """
    level = np.sqrt(np.mean(np.square(audio), dtype=np.float64)) * 10 ** (-snr_db / 20) if len(audio) else 0.0
    mixed = np.float32(level) * noise
    mixed[lead : lead + len(audio)] += audio
    return mixed.astype(np.float32)


def pink(num_samples: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise whose power falls by 3 dB an octave (as 1 / f), without a constant part."""
    if num_samples < 2:
        return np.zeros(num_samples)
    whole = -(-num_samples // 1024) * 1024  # a length with large prime factors costs four times as much
    spectrum = np.fft.rfft(random.standard_normal(whole))
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))
    noise = np.fft.irfft(spectrum, whole)[:num_samples]
    return noise - noise.mean()


def babble(
    num_samples: int, others: Sequence[Samples], random: np.random.Generator, voices: int = BABBLE_VOICES
) -> npt.NDArray[np.float64]:
    """Several utterances over one another, equally loud, each from a random offset on, repeated cyclically."""
    voiced = [audio for audio in others if len(audio) and np.any(audio)]
    total = np.zeros(num_samples)
    for at in random.permutation(len(voiced))[:voices]:
        start = int(random.integers(len(voiced[at])))
        total += unit_power(np.take(voiced[at].astype(np.float64), start + np.arange(num_samples), mode="wrap"))
    return total


def unit_power(signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The signal at a mean square of 1; silence stays silence."""
    power = np.mean(np.square(signal)) if len(signal) else 0.0
    return signal / np.sqrt(power) if power > 0 else signal
