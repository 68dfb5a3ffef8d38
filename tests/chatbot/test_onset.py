"""The silence before a question is left out, and nothing of the question."""

from __future__ import annotations

import numpy as np
import pytest

from chatbot.onset import Onset, without_silence
from corpus.audio import SAMPLE_RATE, Samples, resample
from corpus.espeak import speak

KEPT = 0.3
SAID = ("what is the capital of france", "how much is nine minus four", "six", "she sees the sea")


@pytest.fixture(scope="module")
def spoken() -> list[Samples]:
    return [resample(*speak(text, voice), SAMPLE_RATE) for text in SAID for voice in ("en-us+f2", "en-us+m1")]


def after_silence(audio: Samples, seconds: float, noise: float) -> Samples:
    mixed = np.concatenate([np.zeros(round(seconds * SAMPLE_RATE), np.float32), audio])
    return mixed + np.random.default_rng(1).standard_normal(len(mixed), dtype=np.float32) * np.float32(noise)


def first_sound(audio: Samples) -> int:
    """The first sample of clean speech that can be heard beside it."""
    return int(np.argmax(np.abs(audio) > 0.05 * np.abs(audio).max()))


@pytest.mark.parametrize("noise", [0.0, 1e-4, 1e-3])
@pytest.mark.parametrize("seconds", [0.5, 2.0, 9.0])
def test_silence_goes_and_speech_stays(spoken: list[Samples], seconds: float, noise: float) -> None:
    for audio in spoken:
        mixed = after_silence(audio, seconds, noise)
        heard = without_silence(mixed, KEPT)
        np.testing.assert_array_equal(heard, mixed[len(mixed) - len(heard) :])
        lead = len(heard) - len(audio) + first_sound(audio)  # of it, before the first sound
        assert 0.1 * SAMPLE_RATE < lead < (KEPT + 0.25) * SAMPLE_RATE


def test_speech_that_begins_at_once_is_whole(spoken: list[Samples]) -> None:
    for audio in spoken:
        begun = audio[first_sound(audio) :]
        np.testing.assert_array_equal(without_silence(begun, KEPT), begun)
        longer = np.concatenate([begun, np.zeros(8000, np.float32), audio])  # a pause after the first words
        np.testing.assert_array_equal(without_silence(longer, KEPT), longer)


def test_a_click_is_no_speech(spoken: list[Samples]) -> None:
    mixed = after_silence(spoken[0], 2.0, 1e-4)
    mixed[800:960] = 0.5
    assert len(without_silence(mixed, KEPT)) < len(spoken[0]) + (KEPT + 0.1) * SAMPLE_RATE


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(100), np.zeros(32_000), np.full(32_000, 0.3)])
def test_what_holds_no_speech_is_heard_whole(audio: Samples) -> None:
    quiet = audio.astype(np.float32)
    np.testing.assert_array_equal(without_silence(quiet, KEPT), quiet)


def test_noise_as_loud_as_speech_is_heard_whole() -> None:
    noise = np.random.default_rng(3).standard_normal(48_000, dtype=np.float32) * np.float32(0.1)
    np.testing.assert_array_equal(without_silence(noise, KEPT), noise)


def test_pieces_change_nothing(spoken: list[Samples]) -> None:
    rng = np.random.default_rng(0)
    for number, audio in enumerate(spoken):
        mixed = after_silence(audio, 0.3 * number, 3e-4)
        onset, heard, at = Onset(KEPT), [], 0
        while at < len(mixed):
            size = int(rng.integers(0, 1500))
            heard.append(onset.feed(mixed[at : at + size]))
            at += size
        heard.append(onset.finish())
        np.testing.assert_array_equal(np.concatenate(heard), without_silence(mixed, KEPT))


def test_none_hears_everything(spoken: list[Samples]) -> None:
    onset = Onset(None)
    mixed = after_silence(spoken[0], 1.0, 0.0)
    np.testing.assert_array_equal(onset.feed(mixed), mixed)
    assert len(onset.finish()) == 0
