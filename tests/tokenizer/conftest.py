"""A tiny tokenizer with a codebook, and a tiny corpus of made-up "speech": each word is its own chord."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from corpus.audio.files import Samples, write_audio
from corpus.manifest import Utterance, write_manifest
from tests.support.tokenizer_runs import train_config
from tokenizer import train
from tokenizer.backbones.config import TokenizerModelConfig
from tokenizer.labels import Labels
from tokenizer.model import SpeechTokenizer
from tokenizer.quantisers.config import QuantiserConfig

WORDS = ["red", "blue", "green", "tom", "anna", "cat", "dog", "one", "two", "three"]
torch.set_num_threads(1)


def chord(word: str, seconds: float = 0.4) -> Samples:
    """What ``word`` sounds like here."""
    time = np.arange(int(seconds * 16000)) / 16000
    random = np.random.default_rng(zlib.crc32(word.encode()))
    tones = [np.sin(2 * np.pi * hertz * time) for hertz in random.uniform(200, 4000, 3)]
    return (0.1 * np.sum(tones, axis=0) * np.hanning(len(time))).astype(np.float32)


def say(text: str, speed: float = 1.0) -> Samples:
    """A "spoken" text with a little noise."""
    audio = np.concatenate([chord(word, 0.4 / speed) for word in text.split()])
    noise = np.random.default_rng(len(audio)).normal(0, 1e-3, len(audio))
    return (audio + noise).astype(np.float32)


@pytest.fixture(scope="session", name="say")
def say_fixture() -> Callable[[str], Samples]:
    return say


def make_tokenizer(vq: QuantiserConfig | None = None, **options: Any) -> SpeechTokenizer:
    """Untrained, but with a codebook over its own output, and chunks of 4 tokens with 8 to their left."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"width": 32, "heads": 2, "subsampling_channels": 8, "feed_forward": 2}
    sizes |= {"chunk": 4, "left_context": 8, "num_labels": 40, "upsampling": 2}
    made = SpeechTokenizer(
        TokenizerModelConfig(**(sizes | options)), vq or QuantiserConfig(codebook_size=64), Labels.from_texts(WORDS, 40)
    )
    made.front.initialise()
    made.eval()
    with made.inference():
        hidden_BTD, _ = made.hidden([say(" ".join(WORDS)), np.random.default_rng(0).normal(0, 0.1, 64000)])
    made.quantiser.start(hidden_BTD.flatten(0, 1).clone())
    return made


@pytest.fixture(scope="session")
def tokenizer() -> SpeechTokenizer:
    return make_tokenizer()


@pytest.fixture(scope="session", name="make_tokenizer")
def make_tokenizer_fixture() -> Callable[..., SpeechTokenizer]:
    return make_tokenizer


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus folder: train.jsonl and two held-out manifests."""
    folder = tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(1)
    for split, count in {"train": 60, "heldout_sentence": 6, "heldout_voice": 4}.items():
        utterances = []
        for number in range(count):
            text = " ".join(random.choice(WORDS, random.integers(2, 5)))
            speed = 1.0 if split != "heldout_voice" else 1.3
            audio = say(text, speed)
            path = folder / "audio" / f"{split}-{number}.wav"
            write_audio(path, audio, 16000)
            speaker = f"{split[-5:]}-{number % 2}"
            utterances.append(Utterance(f"{split}-{number}", path, len(audio) / 16000, text, speaker, kind="random"))
        write_manifest(folder / f"{split}.jsonl", utterances)
    return folder


@pytest.fixture(scope="session")
def trained(spoken: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small training on `spoken`."""
    out = tmp_path_factory.mktemp("runs") / "tokenizer"
    train.STAGE.execute(train_config(spoken, out))
    return out
