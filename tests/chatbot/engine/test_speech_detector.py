"""Detection of speech: the package's own network, pieces, levels, and sounds in which nobody speaks."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import soxr
import torch

from chatbot.engine.speech_detector import CHUNK, CONTEXT, SileroNetwork, SpeechDetector, load_network
from chatbot.settings import ReplyConfig
from corpus.audio.background import BACKGROUNDS, make_background
from corpus.audio.files import Samples
from corpus.world import espeak

THRESHOLD = ReplyConfig().min_speech_probability


@pytest.fixture(scope="module")
def network() -> SileroNetwork:
    pytest.importorskip("silero_vad", reason="silero-vad is not installed")
    network = load_network()
    assert network is not None
    return network


def said(text: str, voice: str = "en-us") -> Samples:
    samples, rate = espeak.speak(text, voice)
    return soxr.resample(samples, rate, 16000).astype(np.float32)


def probability(network: SileroNetwork, audio: Samples, piece: int = 10**9) -> float:
    detector = SpeechDetector(network, 1.1)  # looks at everything
    for start in range(0, len(audio), piece):
        detector.feed(audio[start : start + piece])
    detector.finish()
    return detector.probability


def test_the_network_is_the_packages(network: SileroNetwork) -> None:
    found = importlib.util.find_spec("silero_vad")
    assert found is not None and found.origin
    script = torch.jit.load(Path(found.origin).parent / "data" / "silero_vad.jit").eval()
    chunks = np.pad(said("what is the capital of france"), (0, 4 * CHUNK))[: 40 * CHUNK].reshape(40, CHUNK)
    before = np.concatenate([np.zeros((1, CONTEXT), np.float32), chunks[:-1, -CONTEXT:]])
    with torch.inference_mode():
        expected = [float(script(torch.from_numpy(chunk.copy()), 16000)) for chunk in chunks]
        first, state = network(torch.from_numpy(np.concatenate([before, chunks], axis=1)[:17]), None)
        rest, _ = network(torch.from_numpy(np.concatenate([before, chunks], axis=1)[17:]), state)
    np.testing.assert_allclose(torch.cat([first, rest]), expected, atol=1e-5)
    assert max(expected) > 0.9


@pytest.mark.parametrize("voice", ["en-us", "en-us+f2", "en-us+m1"])
@pytest.mark.parametrize("level", [0, -20, -40])
def test_short_words_and_soft_speech_are_speech(network: SileroNetwork, voice: str, level: float) -> None:
    for text in ("hello", "what is the capital of france"):
        audio = np.pad(said(text, voice), 4000) * np.float32(10 ** (level / 20))
        assert probability(network, audio) >= THRESHOLD, text


def test_sounds_without_speech_are_none(network: SileroNetwork) -> None:
    sounds = [
        make_background(kind, seed=seed, seconds=2.0, level_db=level)
        for kind in BACKGROUNDS
        for seed, level in enumerate((-15.0, -30.0, -50.0))
    ]
    taken = [probability(network, audio) >= THRESHOLD for audio in sounds]
    assert sum(taken) <= 0.05 * len(taken)


@pytest.mark.parametrize("level", [-15.0, -50.0])
def test_the_threshold_decides(network: SileroNetwork, level: float) -> None:
    fan = make_background("fan", seed=1, seconds=2.0, level_db=level)
    for audio, has_speech in ((fan, False), (said("what is the capital of france"), True)):
        assert (probability(network, audio) >= THRESHOLD) == has_speech
        detector = SpeechDetector(network, THRESHOLD)
        detector.feed(audio)
        detector.finish()
        assert detector.has_speech == has_speech


def test_pieces_do_not_matter(network: SileroNetwork) -> None:
    audio = np.concatenate([make_background("fan", seed=1, seconds=0.5, level_db=-50), said("yes")])
    whole = probability(network, audio)
    assert [probability(network, audio, piece) for piece in (160, 777, 4000)] == pytest.approx([whole] * 3, abs=1e-4)


def test_digital_silence_is_never_speech() -> None:
    for audio in (np.zeros(32_000, np.float32), np.float32(2**-15) * np.tile(np.float32([1, -1]), 8000)):
        detector = SpeechDetector(None, THRESHOLD)
        detector.feed(audio)
        detector.finish()
        assert not detector.has_speech


def test_the_end_counts_and_0_takes_everything() -> None:
    detector = SpeechDetector(None, THRESHOLD)
    detector.feed(np.full(CHUNK // 2, 0.1, np.float32))
    assert not detector.has_speech
    detector.finish()
    assert detector.has_speech
    assert SpeechDetector(None, 0.0).has_speech


def test_without_the_package_a_warning_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.warns(RuntimeWarning, match="pip install silero-vad"):
        assert load_network() is None
