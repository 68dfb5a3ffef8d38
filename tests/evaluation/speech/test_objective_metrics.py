"""The objective metrics against their values for known sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import read_audio
from evaluation.speech.objective_metrics import compare_audio, mel_cepstral_distance, nsim, smoothed
from tests.support.synthetic_speech import RATE, buzz


def test_the_same_is_like_itself_and_noise_takes_it_away(spoken: dict[str, Path]) -> None:
    audio = read_audio(next(iter(spoken.values())))
    same = compare_audio(audio, audio)
    assert same["mel_cepstral_distance"] == 0
    assert same["stoi"] == pytest.approx(1.0, abs=1e-3) and same["pesq"] is not None and same["pesq"] > 4.5
    assert same["pitch_correlation"] == pytest.approx(1.0) and same["pitch_voicing"] == 1.0
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    found = [compare_audio(audio, audio + level * noise) for level in (0.003, 0.03)]
    for name, sign in (("mel_cepstral_distance", 1), ("nsim", -1), ("stoi", -1), ("pesq", -1)):
        values = [float(row[name]) for row in (same, *found)]  # type: ignore[arg-type]
        assert sorted(values, reverse=sign < 0) == values, name
    assert same["nsim"] == pytest.approx(1.0, abs=1e-6)
    nothing = compare_audio(audio, np.zeros_like(audio))
    assert nothing["nsim"] is None
    assert nothing["stoi"] is None and nothing["pesq"] is None and nothing["pitch_correlation"] is None
    assert compare_audio(audio[:10], audio[:10])["mel_cepstral_distance"] is None


def test_mel_cepstral_distance_ignores_loudness() -> None:
    sound = buzz(np.linspace(120, 180, RATE), 0.2)
    noise = 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)  # no band is empty
    assert mel_cepstral_distance(sound + noise, 0.5 * (sound + noise)) < 0.05  # loudness is cepstrum 0
    assert mel_cepstral_distance(sound + noise, buzz(np.full(RATE, 400.0), 0.2) + noise) > 1.0


def test_nsim_ignores_loudness_and_order_and_hears_what_is_missing(spoken: dict[str, Path]) -> None:
    one, other = (read_audio(file) for file in list(spoken.values())[:2])
    length = min(len(one), len(other))
    one, other = one[:length], other[:length]
    assert nsim(one, 0.25 * one) == pytest.approx(1.0, abs=1e-3)
    assert nsim(one, other) == pytest.approx(nsim(other, one), abs=1e-9)
    assert nsim(one, other) < 0.6
    cut = one.copy()
    cut[: length // 2] = 0
    assert nsim(one, cut) < nsim(one, 0.5 * one)


def test_windows_of_nsim_by_hand() -> None:
    weights = np.outer([0.1065, 0.7870, 0.1065], [0.1065, 0.7870, 0.1065])
    values = np.arange(12.0).reshape(3, 4) ** 2
    expected = [(weights * values[:, shift : shift + 3]).sum() for shift in (0, 1)]
    np.testing.assert_allclose(smoothed(values), [expected])
