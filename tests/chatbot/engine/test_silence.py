"""Of a question's silence only what is beside its words is heard, and of its words everything."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from chatbot.engine.silence import SilenceFilter, without_silence
from corpus.audio.files import SAMPLE_RATE, Samples, resample
from corpus.world.espeak import speak

KEPT = 0.2
SAID = ("what is the capital of france", "how much is nine minus four", "six", "she sees the sea")


@pytest.fixture(scope="module")
def spoken() -> list[Samples]:
    return [resample(*speak(text, voice), SAMPLE_RATE) for text in SAID for voice in ("en-us+f2", "en-us+m1")]


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def with_noise(audio: Samples, noise: float) -> Samples:
    return audio + np.random.default_rng(1).standard_normal(len(audio), dtype=np.float32) * np.float32(noise)


def sounds(audio: Samples) -> tuple[int, int]:
    """The first and the last sample of clean speech that can be heard beside it."""
    heard = np.flatnonzero(np.abs(audio) > 0.05 * np.abs(audio).max())
    return int(heard[0]), int(heard[-1])


def place_of(heard: Samples, mixed: Samples) -> int:
    """Where in ``mixed`` a piece of it begins that was heard without a cut."""
    begin = int(np.flatnonzero([mixed[at] == heard[0] for at in range(len(mixed) - len(heard) + 1)])[0])
    np.testing.assert_array_equal(heard, mixed[begin : begin + len(heard)])
    return begin


@pytest.mark.parametrize("noise", [1e-7, 1e-4, 1e-3, 2e-3])
@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5), (2.0, 0.0), (0.0, 2.0), (9.0, 4.0)])
def test_silence_around_goes_and_speech_stays(spoken: list[Samples], before: float, after: float, noise: float) -> None:
    for audio in spoken:
        mixed = with_noise(np.concatenate([silence(before), audio, silence(after)]), noise)
        heard = without_silence(mixed, KEPT)
        begin = place_of(heard, mixed)
        first, last = (round(before * SAMPLE_RATE) + at for at in sounds(audio))
        assert begin < first and begin + len(heard) > last
        assert begin > first - (KEPT + 0.25) * SAMPLE_RATE
        assert begin + len(heard) < last + (KEPT + 0.35) * SAMPLE_RATE


@pytest.mark.parametrize("noise", [1e-4, 1e-3])
@pytest.mark.parametrize("seconds", [0.7, 3.0])
def test_long_pauses_are_shortened_and_short_ones_stay(spoken: list[Samples], seconds: float, noise: float) -> None:
    for one, other in pairwise(spoken):
        (first, end), (begin, last) = sounds(one), sounds(other)
        words, more = one[first : end + 1], other[begin : last + 1]
        mixed = with_noise(np.concatenate([words, silence(seconds), more]), noise)
        heard = without_silence(mixed, KEPT)
        np.testing.assert_array_equal(heard[: len(words)], mixed[: len(words)])
        np.testing.assert_array_equal(heard[-len(more) :], mixed[-len(more) :])
        assert 0.05 < len(heard) / SAMPLE_RATE - (len(words) + len(more)) / SAMPLE_RATE < 2 * KEPT + 0.1
        short = with_noise(np.concatenate([words, silence(0.15), more]), noise)
        np.testing.assert_array_equal(without_silence(short, KEPT), short)


def test_a_click_is_no_speech(spoken: list[Samples]) -> None:
    mixed = with_noise(np.concatenate([silence(2.0), spoken[0], silence(2.0)]), 1e-4)
    mixed[800:960] = mixed[-960:-800] = 0.5
    assert len(without_silence(mixed, KEPT)) < len(spoken[0]) + (2 * KEPT + 0.1) * SAMPLE_RATE


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(100), np.zeros(32_000), np.full(32_000, 0.3)])
def test_what_holds_no_speech_is_heard_whole(audio: Samples) -> None:
    quiet = audio.astype(np.float32)
    np.testing.assert_array_equal(without_silence(quiet, KEPT), quiet)


def test_noise_as_loud_as_speech_is_heard_whole() -> None:
    noise = np.random.default_rng(3).standard_normal(48_000, dtype=np.float32) * np.float32(0.1)
    np.testing.assert_array_equal(without_silence(noise, KEPT), noise)


def test_pieces_change_nothing(spoken: list[Samples]) -> None:
    rng = np.random.default_rng(0)
    for number, (one, other) in enumerate(zip(spoken, spoken[::-1], strict=True)):
        parts = [silence(0.3 * number), one, silence(0.2 * number), other, silence(0.25 * number)]
        mixed = with_noise(np.concatenate(parts), 3e-4)
        found, heard, at = SilenceFilter(KEPT), [], 0
        while at < len(mixed):
            size = int(rng.integers(0, 1500))
            heard.append(found.feed(mixed[at : at + size]))
            at += size
        heard.append(found.finish())
        np.testing.assert_array_equal(np.concatenate(heard), without_silence(mixed, KEPT))


def test_speech_is_heard_while_it_is_spoken(spoken: list[Samples]) -> None:
    found = SilenceFilter(KEPT)
    audio = with_noise(spoken[0], 1e-4)
    begin, end = sounds(spoken[0])
    heard = len(found.feed(audio[: (begin + end) // 2]))
    assert heard > (begin + end) // 2 - 0.3 * SAMPLE_RATE


def test_none_hears_everything(spoken: list[Samples]) -> None:
    found = SilenceFilter(None)
    mixed = np.concatenate([silence(1.0), spoken[0], silence(1.0)])
    np.testing.assert_array_equal(found.feed(mixed), mixed)
    assert len(found.finish()) == 0
