"""A few sentences of the closed world, spoken by espeak-ng (a wheel, so it is always there); a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpus.audio.files import SAMPLE_RATE, Samples, resample, write_audio
from corpus.world.closed_world import World
from corpus.world.espeak import speak
from tests.support.small_speech_model import SmallModel, save_small_model

SAID = (
    "what is the capital of france",
    "the capital of france is paris",
    "what color is the sky",
    "the sky is blue",
    "what time is it one hour after one o'clock",
    "it is two o'clock",
)


def say(text: str, voice: str = "en-us+f2") -> Samples:
    return resample(*speak(text, voice), SAMPLE_RATE)


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    return World().sentences


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Text -> its audio file."""
    folder = tmp_path_factory.mktemp("spoken")
    files = {text: folder / f"{number}.flac" for number, text in enumerate(SAID)}
    for text, file in files.items():
        write_audio(file, say(text))
    return files


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallModel:
    return save_small_model(tmp_path_factory.mktemp("small"))
