"""Speaking conditions of a request: another accent, another manner, noise, and disfluent words.

Fillers, repetitions and restarts go into what is said; the written prompt stays as it is.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from corpus.audio.files import Samples
from corpus.audio.noise import add_noise, make_noise
from corpus.world.voices import ESPEAK_VOICES, HELD_OUT, WorldVoice

STANDARD_ACCENT = "en-us"
VOICES = tuple(
    voice for voice in ESPEAK_VOICES if voice.voice.partition("+")[0] == STANDARD_ACCENT and voice.role != HELD_OUT
)
ACCENTS = ("en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-us-nyc")
NOISES = ("babble", "pink")
PUNCTUATION, SENTENCE_ENDS = ".,?!", (".", "?", "!")
LONGEST_RESTART = 3  # words
FILLERS = ("um,", "uh,", "well,", "you know,", "I mean,")


class SpeakingManner(NamedTuple):
    """Changes of a voice: factor of its rate, and steps of espeak-ng's pitch."""

    name: str
    rate: float
    pitch: int


MANNERS = (
    SpeakingManner("hurried", 1.5, 10),
    SpeakingManner("slow", 0.65, -10),
    SpeakingManner("high", 1.0, 35),
    SpeakingManner("low", 0.9, -35),
)


def voice_under(condition: str, number: int) -> tuple[WorldVoice, str]:
    """The voice of request ``number`` and the name of its accent or manner, which come in turn.

    But for these the voice is the same under all conditions.
    """
    voice = VOICES[number % len(VOICES)]
    if condition == "accent":
        accent = ACCENTS[number % len(ACCENTS)]
        spoken = replace(voice, voice=voice.voice.replace(STANDARD_ACCENT, accent, 1), name=f"{voice.name}-{accent}")
        return spoken, accent
    if condition == "paralinguistics":
        manner = MANNERS[number % len(MANNERS)]
        pitch, rate = min(max(voice.pitch + manner.pitch, 0), 99), round(voice.rate * manner.rate)
        return replace(voice, pitch=pitch, rate=rate, name=f"{voice.name}-{manner.name}", spread=0.0), manner.name
    return voice, ""


def disfluent(text: str, rate: float, rng: random.Random) -> str:
    """A text with fillers, repetitions and restarts in front of some of its words, one at least.

    Without them the words stand in their order. A restart takes up to three words of a sentence twice.
    """
    words = text.split()
    count = min(max(1, round(rate * len(words))), len(words))
    places = set(rng.sample(range(len(words)), count))
    said: list[str] = []
    for place, word in enumerate(words):
        if place in places:
            said += _disfluency(words, place, rng)
        said.append(word)
    return " ".join(said)


def _disfluency(words: Sequence[str], place: int, rng: random.Random) -> list[str]:
    kind = rng.choice(("filler", "repetition", "restart"))
    begun = list[str]()
    for word in words[place : place + (1 if kind == "repetition" else LONGEST_RESTART)]:
        begun.append(word.rstrip(PUNCTUATION))
        if word.endswith(SENTENCE_ENDS):
            break
    if kind == "filler":
        return [rng.choice(FILLERS)]
    broken = f"{begun[-1]}," if kind == "repetition" else f"{begun[-1]}, no,"
    return [*begun[:-1], broken]


def in_background(audio: Samples, id: str, number: int, others: Sequence[Samples], snr: float, seed: int) -> Samples:
    """(S,) speech of request ``number`` in noise: babble or pink noise in turn; peaks stay within 1."""
    noise = make_noise(NOISES[number % len(NOISES)], id, len(audio), others, seed)
    mixed = add_noise(audio, noise, snr)
    return mixed / np.float32(max(1.0, float(np.abs(mixed).max(initial=0))))
