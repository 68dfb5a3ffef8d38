"""The objective metrics against their values for known sounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corpus.audio.files import read_audio
from evaluation.speech.objective_metrics import compare_audio, mel_cepstral_distance
from tests.support.synthetic_speech import RATE, buzz


def test_the_same_is_like_itself_and_noise_takes_it_away(spoken: dict[str, Path]) -> None:
    audio = read_audio(next(iter(spoken.values())))
    same = compare_audio(audio, audio)
    assert same["mel_cepstral_distance"] == 0
    assert same["stoi"] == pytest.approx(1.0, abs=1e-3) and same["pesq"] is not None and same["pesq"] > 4.5
    assert same["pitch_correlation"] == pytest.approx(1.0) and same["pitch_voicing"] == 1.0
    noise = np.random.default_rng(0).standard_normal(len(audio)).astype(np.float32)
    found = [compare_audio(audio, audio + level * noise) for level in (0.003, 0.03)]
    for name, sign in (("mel_cepstral_distance", 1), ("stoi", -1), ("pesq", -1)):
        values = [float(row[name]) for row in (same, *found)]  # type: ignore[arg-type]
        assert sorted(values, reverse=sign < 0) == values, name
    nothing = compare_audio(audio, np.zeros_like(audio))
    assert nothing["stoi"] is None and nothing["pesq"] is None and nothing["pitch_correlation"] is None
    assert compare_audio(audio[:10], audio[:10])["mel_cepstral_distance"] is None


def test_mel_cepstral_distance_ignores_loudness() -> None:
    sound = buzz(np.linspace(120, 180, RATE), 0.2)
    noise = 0.01 * np.random.default_rng(0).standard_normal(RATE).astype(np.float32)  # no band is empty
    assert mel_cepstral_distance(sound + noise, 0.5 * (sound + noise)) < 0.05  # loudness is cepstrum 0
    assert mel_cepstral_distance(sound + noise, buzz(np.full(RATE, 400.0), 0.2) + noise) > 1.0
