from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chatbot.engine.vad import SpeechStarted, SpeechStopped, TurnDetector, TurnOptions
from corpus.audio.files import SAMPLE_RATE, Samples, resample
from corpus.world.espeak import speak
from runtime.errors import UserError

OPTIONS = TurnOptions()
SAID = [
    ("what is the capital of france", "en-us+f2"),
    ("david put the pink book in the drawer who put it there", "en-us+m1"),
    ("how much is nine minus four", "en-us+m3"),
    ("what color is the sky", "en-us+f4"),
    ("sixty six", "en-us+m7"),
    ("name a day that comes after tuesday", "en-us+f5"),
]


@pytest.fixture(scope="module")
def spoken() -> list[Samples]:
    return [resample(*speak(text, voice), SAMPLE_RATE) for text, voice in SAID]


def bounds(audio: Samples) -> tuple[float, float]:
    """Where clean speech begins and ends, in ms: the frames within 35 dB of its loudest one."""
    frames = audio[: len(audio) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10((frames.astype(np.float64) ** 2).mean(axis=1) + 1e-10)
    loud = np.flatnonzero(level > level.max() - 35)
    return float(loud[0] * 10), float(loud[-1] * 10 + 10)


def noisy(audio: Samples, snr: float | None, seed: int) -> tuple[Samples, float]:
    """Speech with silence before and 1.5 s after it, in white noise; and the ms before it."""
    rng = np.random.default_rng(seed)
    before = int(rng.uniform(0.8, 2.0) * SAMPLE_RATE)
    mixed = np.concatenate([np.zeros(before), audio, np.zeros(24_000)])
    if snr is not None:
        power = (audio.astype(np.float64) ** 2).mean()
        mixed += rng.standard_normal(len(mixed)) * np.sqrt(power * 10 ** (-snr / 10))
    return mixed.astype(np.float32), before / 16


@pytest.mark.parametrize("snr", [None, 20.0, 10.0])
def test_each_utterance_is_one_turn_with_its_bounds(spoken: list[Samples], snr: float | None) -> None:
    for seed, audio in enumerate(spoken):
        mixed, offset = noisy(audio, snr, seed)
        started, stopped = TurnDetector(OPTIONS).feed(mixed)
        assert isinstance(started, SpeechStarted)
        assert isinstance(stopped, SpeechStopped)
        begin, end = bounds(audio)
        assert -100 <= started.at_ms + OPTIONS.prefix_padding_ms - offset - begin <= 150
        assert -250 <= stopped.at_ms - offset - end <= 150  # noise hides the last breath


@pytest.mark.parametrize("snr", [None, 30.0, 20.0])
def test_speech_that_begins_with_the_stream_is_heard_from_there(spoken: list[Samples], snr: float | None) -> None:
    for seed, audio in enumerate(spoken):
        mixed, offset = noisy(audio, snr, seed)
        begun = mixed[round((offset + bounds(audio)[0]) * 16) :]
        started, _ = TurnDetector(OPTIONS).feed(begun)
        assert isinstance(started, SpeechStarted)
        assert started.at_ms == 0


def test_pieces_change_nothing(spoken: list[Samples]) -> None:
    stream = np.concatenate([noisy(audio, 15.0, seed)[0] for seed, audio in enumerate(spoken)])
    whole = TurnDetector(OPTIONS).feed(stream)
    assert len(whole) == 2 * len(spoken)
    detector, rng, found, at = TurnDetector(OPTIONS), np.random.default_rng(0), [], 0
    while at < len(stream):
        size = int(rng.integers(0, 3000))
        found += detector.feed(stream[at : at + size])
        at += size
    assert found == whole
    detector.reset()
    assert detector.feed(stream) == whole


def test_pauses_within_speech_are_bridged_as_long_as_asked(spoken: list[Samples]) -> None:
    first, second = (audio[int(b * 16) : int(e * 16)] for audio in spoken[:2] for b, e in [bounds(audio)])
    quiet = np.zeros(16_000, np.float32)
    for pause in (300, 900):
        stream = np.concatenate([quiet, first, np.zeros(pause * 16, np.float32), second, quiet, quiet])
        for silence_ms in (500, 1000):
            detector = TurnDetector(replace(OPTIONS, silence_ms=silence_ms, prefix_padding_ms=0))
            assert len(detector.feed(stream)) == (2 if pause < silence_ms else 4)


def test_a_long_talk_is_not_taken_for_noise(spoken: list[Samples]) -> None:
    talk = np.concatenate([audio[int(b * 16) : int(e * 16)] for audio in spoken * 2 for b, e in [bounds(audio)]])
    assert len(talk) > 15 * SAMPLE_RATE
    stream = np.concatenate([np.zeros(16_000, np.float32), talk, np.zeros(16_000, np.float32)])
    assert [type(event) for event in TurnDetector(OPTIONS).feed(stream)] == [SpeechStarted, SpeechStopped]


def test_noise_knocks_and_silence_are_no_speech() -> None:
    rng = np.random.default_rng(1)
    for level in (0.0, 1e-3, 0.05):
        noise = (rng.standard_normal(10 * SAMPLE_RATE) * level).astype(np.float32)
        noise[5 * SAMPLE_RATE : 5 * SAMPLE_RATE + 320] += 0.5  # 20 ms
        assert TurnDetector(OPTIONS).feed(noise) == []


def test_a_fan_that_starts_is_noise_after_a_while() -> None:
    rng = np.random.default_rng(2)
    stream = rng.standard_normal(25 * SAMPLE_RATE) * np.repeat([1e-4, 1e-2], [5 * SAMPLE_RATE, 20 * SAMPLE_RATE])
    events = TurnDetector(OPTIONS).feed(stream.astype(np.float32))
    assert [type(event) for event in events] == [SpeechStarted, SpeechStopped]
    assert events[1].at_ms < 20_000


@pytest.mark.parametrize("option", ["threshold", "silence_ms", "prefix_padding_ms", "start_ms", "floor_seconds"])
def test_options_out_of_range(option: str) -> None:
    with pytest.raises(UserError, match=option):
        replace(OPTIONS, **{option: -1})
