"""What a microphone in a room makes of synthetic speech: silence before and after it, noise, another level.

A synthesiser speaks at once, into perfect silence, always equally loud. Models that have heard nothing else misread
people, who take a breath before they ask, beside a fan, at some distance.

S samples.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np

from runtime.errors import check_option

from .files import SAMPLE_RATE, Samples
from .noise import add_noise, make_noise

STEADY_NOISE = ("white", "pink")


@dataclass(kw_only=True)
class RoomConfig:
    """How built-in utterances are recorded; the answer voice, which replies are made of, is never changed.

    Attributes:
        share: of the utterances, those that are recorded in a room; the others stay as the synthesiser made them.
        max_lead: longest silence before the speech, seconds; drawn evenly from 0 on.
        max_tail: longest silence after it.
        min_snr: of the speech to the room's noise, dB; drawn evenly up to ``max_snr``.
        max_snr: highest.
        max_attenuation: how much softer than the loudest the recording may be, dB.
        kinds: of noise, drawn alike: ``white``, ``pink``.
    """

    share: float = 0.0
    max_lead: float = 0.3
    max_tail: float = 0.5
    min_snr: float = 20.0
    max_snr: float = 60.0
    max_attenuation: float = 15.0
    kinds: list[str] = field(default_factory=lambda: list(STEADY_NOISE))

    def __post_init__(self) -> None:
        check_option(0 <= self.share <= 1, "room.share", self.share, "give 0 to 1")
        for name in ("max_lead", "max_tail", "max_attenuation"):
            check_option(getattr(self, name) >= 0, f"room.{name}", getattr(self, name), "give 0 or more")
        remedy = f"it must be at least room.min_snr ({self.min_snr})"
        check_option(self.max_snr >= self.min_snr, "room.max_snr", self.max_snr, remedy)
        is_known = bool(self.kinds) and set(self.kinds) <= set(STEADY_NOISE)
        check_option(is_known, "room.kinds", self.kinds, f"choose from {', '.join(STEADY_NOISE)}")


def record_in_room(audio: Samples, id: str, config: RoomConfig, seed: int) -> Samples:
    """(S,) speech as a microphone might have heard it, (S',) with S' >= S.

    Args:
        audio: the speech.
        id: the utterance's; with ``seed`` it decides every draw.
        config: how far the draws go.
        seed: of the draws.
    """
    random = np.random.default_rng([seed, zlib.crc32(f"room {id}".encode())])
    if random.random() >= config.share:
        return audio
    lead, tail = (round(random.uniform(0, most) * SAMPLE_RATE) for most in (config.max_lead, config.max_tail))
    snr = random.uniform(config.min_snr, config.max_snr)
    gain = 10 ** (-random.uniform(0, config.max_attenuation) / 20)
    kind = config.kinds[random.integers(len(config.kinds))]
    noise = make_noise(kind, id, lead + len(audio) + tail, (), seed)
    return add_noise(audio, noise, snr, lead=lead) * np.float32(gain)
