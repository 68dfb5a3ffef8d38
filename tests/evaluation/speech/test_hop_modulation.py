"""Hop modulation: none of sound without frames, and of sound made in frames as much as was put in."""

from __future__ import annotations

import numpy as np
import pytest

from corpus.audio.files import Samples
from evaluation.speech.hop_modulation import hop_modulation, hop_profile

HOP = 160


def noise(seconds: float, seed: int = 0) -> Samples:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(16000 * seconds)).astype(np.float32)


def test_noise_has_none_but_the_error_of_a_finite_mean() -> None:
    errors = [hop_modulation([noise(seconds)], HOP)["hop_modulation"] for seconds in (4, 64)]
    assert errors[0] < 0.06 and errors[1] == pytest.approx(errors[0] / 4, rel=0.3)


@pytest.mark.parametrize("hop", [160, 240, 16000 * 256 / 22050])
def test_a_known_modulation_is_found(hop: float) -> None:
    """The loudness goes up and down by a tenth of itself once a frame: its standard deviation is 0.1 / sqrt(2)."""
    audio = noise(60)
    waves = 1 + 0.1 * np.sin(2 * np.pi * np.arange(len(audio)) / hop)
    found = hop_modulation([audio * waves], hop)
    assert found["hop_modulation"] == pytest.approx(0.1 / np.sqrt(2), abs=0.005)
    assert found["hop_lowest"] == pytest.approx(0.9, abs=0.04) and found["hop_highest"] == pytest.approx(1.1, abs=0.04)
    assert hop_modulation([audio * waves], hop + 3)["hop_modulation"] < 0.03  # of another frame rate: no buzz


def test_a_click_in_each_frame_is_found_at_its_place() -> None:
    audio = noise(10)
    audio[70::HOP] += 0.5
    profile = hop_profile([audio], HOP)
    assert profile is not None and len(profile) == HOP
    assert set(np.argsort(profile)[-3:]) == {69, 70, 71}


def test_utterances_are_pooled() -> None:
    pieces = [noise(0.5, seed) for seed in range(40)]  # of whole frames
    one = hop_modulation(pieces, HOP)["hop_modulation"]
    assert one < 0.5 * np.mean([hop_modulation([piece], HOP)["hop_modulation"] for piece in pieces])


def test_silence_has_no_value() -> None:
    assert hop_modulation([], HOP) == {}
    assert hop_modulation([np.zeros(16000, np.float32), noise(0.0), noise(0.01)[:2]], HOP) == {}
