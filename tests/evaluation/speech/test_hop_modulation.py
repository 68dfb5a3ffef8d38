"""Hop modulation: none of sound without frames, and of sound made in frames as much as was put in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from corpus.audio.files import SAMPLE_RATE, Samples, resample
from corpus.audio.mel import LogMel
from decoder.config import VocoderConfig
from decoder.vocoder import Vocoder
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


def voices(rate: int, seconds: int = 80) -> Samples:
    """Gliding harmonics under a loudness that comes and goes, and breath: as a recording, it knows no frames."""
    draw = np.random.default_rng(5)
    knots, place = np.arange(seconds + 1), np.arange(rate * seconds) / rate
    pitch = np.interp(place, knots, draw.uniform(90, 240, seconds + 1))
    loudness = np.interp(place * 8, np.arange(8 * seconds + 1), draw.uniform(0.02, 1, 8 * seconds + 1))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    harmonics = sum(np.sin(number * phase + draw.uniform(0, 6)) / number for number in range(1, 20))
    audio = loudness * (0.1 * harmonics + 0.05 * draw.standard_normal(len(place)))
    return np.asarray(audio, dtype=np.float32)


@pytest.mark.parametrize(
    ("rate", "hop"),
    [(8000, 80), (16000, 200), (22050, 256), (24000, 300), (44100, 512), (48000, 480)],
)
def test_a_buzz_is_found_at_any_rate_and_hop_and_in_a_recording_none(rate: int, hop: int) -> None:
    """Also when the sound is resampled to 16 kHz before it is measured, as all sounds of `evaluation.quality` are."""
    recording = voices(rate)
    buzzing = (recording * (1 + 0.2 * np.cos(2 * np.pi * np.arange(len(recording)) / hop))).astype(np.float32)
    for target in (rate, SAMPLE_RATE):
        own_hop = hop * target / rate
        without, found = (
            hop_modulation([resample(audio, rate, target)], own_hop)["hop_modulation"] for audio in (recording, buzzing)
        )
        assert without < 0.04 and found == pytest.approx(0.2 / np.sqrt(2), abs=0.03)
        assert hop_modulation([resample(buzzing, rate, target)], own_hop * 1.1)["hop_modulation"] < 0.04


@pytest.mark.parametrize("pieces", [[1, 1, 2, 3, 5, 8, 13, 67], [30] * 3 + [10]])
def test_a_streaming_vocoder_buzzes_as_much_as_it_does_offline(pieces: list[int]) -> None:
    """An untrained one, which repeats its phases frame after frame: the first sample of a stream begins a frame."""
    torch.manual_seed(1)
    vocoder = Vocoder(VocoderConfig(width=16, layers=2)).eval()
    mel_1MF = LogMel()(torch.from_numpy(voices(SAMPLE_RATE, 1))[None])
    with torch.inference_mode():
        whole = vocoder(mel_1MF)[0].numpy()
        stream = vocoder.streaming()
        made = [stream.feed(piece) for piece in mel_1MF.split(pieces, dim=2)] + [stream.finish()]
    streamed = torch.cat(made, dim=-1).flatten().numpy()
    offline, online = (hop_modulation([audio], HOP)["hop_modulation"] for audio in (whole, streamed))
    assert online == pytest.approx(offline, rel=1e-3) and offline > 0.2


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
