from __future__ import annotations

import numpy as np
import pytest

from corpus.audio.background import BACKGROUNDS, make_background


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_a_sound_is_a_function_of_its_seed_and_as_loud_as_asked(kind: str) -> None:
    sounds = [make_background(kind, seed=seed, seconds=1.3, level_db=-30.0) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(sounds[0], sounds[1])
    assert sounds[0].shape == (20_800,) and sounds[0].dtype == np.float32
    if kind == "silence":
        assert not sounds[0].any()
        return
    assert not np.array_equal(sounds[0], sounds[2])
    for sound in sounds:
        power = np.convolve(sound.astype(float) ** 2, np.full(800, 1 / 800), mode="same").max()
        assert 10 * np.log10(power) == pytest.approx(-30, abs=0.5)
        assert np.isfinite(sound).all()
