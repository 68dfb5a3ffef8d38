"""Room simulation for synthetic speech: silence before and after it, steady noise, another level.

A synthesiser starts at once, in perfect silence, always equally loud. Models trained on nothing else misrecognise
people, who pause before they speak, next to a fan, at some distance.

S samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from runtime.config import Options, option
from runtime.errors import check_option

from .files import SAMPLE_RATE, Samples
from .noise import add_noise, make_noise, named_generator

STEADY_NOISE = ("white", "pink")


@dataclass(kw_only=True)
class RoomConfig(Options):
    """Room simulation of utterances.

    Attributes:
        share: of the utterances, those that are recorded in a room; the others stay as they are.
        max_lead: longest silence before the speech, seconds; drawn uniformly from 0 on.
        max_tail: longest silence after it.
        min_snr: of the speech to the room's noise, dB; drawn uniformly up to ``max_snr``.
        max_snr: highest.
        max_attenuation: largest attenuation of the recording, dB; drawn uniformly from 0 on.
        kinds: of noise, drawn uniformly: ``white``, ``pink``.
    """

    share: float = option(0.0, at_least=0, at_most=1)
    max_lead: float = option(0.3, at_least=0)
    max_tail: float = option(0.5, at_least=0)
    min_snr: float = 20.0
    max_snr: float = 60.0
    max_attenuation: float = option(15.0, at_least=0)
    kinds: list[str] = option(list(STEADY_NOISE), one_of=STEADY_NOISE)

    def __post_init__(self) -> None:
        super().__post_init__()
        remedy = f"it must be at least room.min_snr ({self.min_snr})"
        check_option(self.max_snr >= self.min_snr, "room.max_snr", self.max_snr, remedy)
        check_option(bool(self.kinds), "room.kinds", self.kinds, f"choose from {', '.join(STEADY_NOISE)}")


def record_in_room(audio: Samples, id: str, config: RoomConfig, seed: int) -> Samples:
    """Simulate the recording of (S,) speech in a room; returns (S',) with S' >= S.

    Args:
        audio: the speech.
        id: of the utterance; every random draw depends on it and on ``seed`` alone.
        config: ranges of the draws.
        seed: of the draws.
    """
    random = named_generator(seed, f"room {id}")
    if random.random() >= config.share:
        return audio
    lead, tail = (round(random.uniform(0, most) * SAMPLE_RATE) for most in (config.max_lead, config.max_tail))
    snr = random.uniform(config.min_snr, config.max_snr)
    gain = 10 ** (-random.uniform(0, config.max_attenuation) / 20)
    kind = config.kinds[random.integers(len(config.kinds))]
    noise = make_noise(kind, id, lead + len(audio) + tail, (), seed)
    return add_noise(audio, noise, snr, lead=lead) * np.float32(gain)
