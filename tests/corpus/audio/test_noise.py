"""Noise has the strength and the colour that was asked for, and is the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from corpus.audio.files import Samples
from corpus.audio.noise import NOISE_KINDS, add_noise, make_noise

SPEECH = np.sin(np.arange(32000) / 9).astype(np.float32) * np.hanning(32000).astype(np.float32)
OTHERS = [np.random.default_rng(number).normal(0, 0.1 + number, 5000).astype(np.float32) for number in range(9)]


@pytest.mark.parametrize("kind", NOISE_KINDS)
@pytest.mark.parametrize("snr", [20.0, 5.0, -3.0])
def test_the_snr_is_as_asked(kind: str, snr: float) -> None:
    noisy = add_noise(SPEECH, make_noise(kind, "u1", len(SPEECH), OTHERS, seed=1), snr)
    assert noisy.dtype == np.float32 and noisy.shape == SPEECH.shape
    noise = (noisy - SPEECH).astype(np.float64)
    measured = 10 * np.log10(np.mean(SPEECH.astype(np.float64) ** 2) / np.mean(noise**2))
    assert measured == pytest.approx(snr, abs=0.01)


@pytest.mark.parametrize("kind", NOISE_KINDS)
def test_draws_depend_on_seed_kind_and_utterance_alone(kind: str) -> None:
    first = make_noise(kind, "u1", 8000, OTHERS, seed=1)
    assert np.array_equal(first, make_noise(kind, "u1", 8000, OTHERS, seed=1))
    assert not np.array_equal(first, make_noise(kind, "u2", 8000, OTHERS, seed=1))
    assert not np.array_equal(first, make_noise(kind, "u1", 8000, OTHERS, seed=2))


def test_pink_falls_three_decibels_an_octave_and_white_does_not() -> None:
    def octaves(kind: str) -> list[float]:
        power = np.abs(np.fft.rfft(make_noise(kind, "u", 1 << 17, [], seed=3))) ** 2
        return [10 * np.log10(power[low : 2 * low].mean()) for low in (1 << 9, 1 << 11, 1 << 13, 1 << 15)]

    assert np.diff(octaves("pink")) == pytest.approx([-6.02] * 3, abs=0.4)  # two octaves apart
    assert np.diff(octaves("white")) == pytest.approx([0.0] * 3, abs=0.4)


def test_babble_is_the_voices_equally_loud_whatever_their_level() -> None:
    quiet, loud = OTHERS[0], 100 * OTHERS[1]
    noise = make_noise("babble", "u", 5000, [quiet, loud], seed=1)

    def likeness(voice: Samples) -> float:
        products = np.fft.ifft(np.fft.fft(noise) * np.fft.fft(voice).conj())
        return float(np.abs(products).max() / np.linalg.norm(voice) / np.linalg.norm(noise))

    assert [likeness(quiet), likeness(loud)] == pytest.approx([2**-0.5] * 2, abs=0.05)


def test_odd_lengths_and_silence() -> None:
    for kind in NOISE_KINDS:
        for length in (0, 1, 2, 7):
            noise = make_noise(kind, "u", length, OTHERS, seed=1)
            assert noise.shape == (length,) and np.isfinite(noise).all()
            assert not add_noise(np.zeros(length, dtype=np.float32), noise, 5.0).any()
    assert not make_noise("babble", "u", 100, [np.zeros(50, dtype=np.float32)], seed=1).any()
