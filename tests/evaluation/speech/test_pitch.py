from __future__ import annotations

import numpy as np
import pytest

from evaluation.speech.pitch import agreement, pitch
from tests.support.synthetic_speech import RATE, buzz


@pytest.mark.parametrize("hertz", [70.0, 110.0, 220.0, 410.0])
def test_pitch_of_a_steady_sound(hertz: float) -> None:
    track = pitch(buzz(np.full(RATE, hertz)), RATE)
    assert len(track) == 97
    assert (track > 0).all()
    np.testing.assert_allclose(track, hertz, rtol=0.01)


def test_pitch_follows_a_glide_and_knows_silence_and_noise() -> None:
    glide = np.linspace(100, 300, RATE)
    noise = 0.05 * np.random.default_rng(0).standard_normal(RATE // 2).astype(np.float32)
    silence = np.zeros(RATE // 2, dtype=np.float32)
    track = pitch(np.concatenate([buzz(glide), silence, noise]), RATE)
    expected = glide[(np.arange(97) * 160 + 320)]
    np.testing.assert_allclose(track[:97], expected, rtol=0.02)
    assert (track[104:144] == 0).all()
    assert (track[154:] > 0).mean() < 0.1
    assert len(pitch(np.zeros(100, dtype=np.float32), RATE)) == 0


def test_agreement_of_pitches() -> None:
    rising, falling = np.linspace(100, 200, 50), np.linspace(200, 100, 50)
    assert agreement(rising, 2 * rising).correlation == pytest.approx(1.0)
    assert agreement(rising, falling).correlation < -0.9
    half = np.where(np.arange(50) < 25, rising, 0.0)
    assert agreement(rising, half).voicing == 0.5
    assert np.isnan(agreement(rising, np.zeros(50)).correlation)
    assert np.isnan(agreement(np.zeros(0), rising).voicing)
