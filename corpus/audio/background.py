"""Synthetic sounds in which nobody speaks: silence, noise, machines, knocks, breath, music; a function of the seed.

    audio = make_background("fan", seed=3, seconds=2.0, level_db=-40.0)

Each kind draws its pitches, rhythm and envelope from the seed, so that a set of them holds many different sounds of a
kind. They stand for what a microphone hears while nobody talks to it; no recording is among them.

S samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .files import SAMPLE_RATE, Samples
from .noise import named_generator, pink

Signal = npt.NDArray[np.float64]
Random = np.random.Generator


def make_background(kind: str, *, seed: int, seconds: float, level_db: float) -> Samples:
    """(S,) sound of a kind.

    Args:
        kind: one of `BACKGROUNDS`.
        seed: of all draws.
        seconds: S / 16000.
        level_db: loudness of its loudest 50 ms, root mean square in dB of full scale; samples are clipped to 1.
    """
    num_samples = round(seconds * SAMPLE_RATE)
    signal = BACKGROUNDS[kind](num_samples, named_generator(seed, f"background {kind}"))
    power = np.convolve(signal**2, np.full(800, 1 / 800), mode="same").max(initial=0.0)
    if power > 0:
        signal = signal * 10 ** (level_db / 20) / np.sqrt(power)
    return np.clip(signal, -1, 1).astype(np.float32)


def times(num_samples: int) -> Signal:
    """(S,) seconds."""
    return np.arange(num_samples) / SAMPLE_RATE


def band(num_samples: int, random: Random, low: float, high: float, slope_db: float = 0.0) -> Signal:
    """(S,) noise between two frequencies in Hz, ``slope_db`` per octave."""
    spectrum = np.fft.rfft(random.standard_normal(num_samples))
    hertz = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE)
    shape = ((hertz >= low) & (hertz <= high)) * np.maximum(hertz / max(low, 20.0), 1e-3) ** (slope_db / 6.02)
    return np.fft.irfft(spectrum * shape, num_samples)


def harmonics(hertz: Signal, amplitudes: npt.ArrayLike) -> Signal:
    """(S,) sum of harmonics of a pitch (S,), the first of them the fundamental; those above 7 kHz are left out."""
    phase = 2 * np.pi * np.cumsum(hertz) / SAMPLE_RATE
    total = np.zeros(len(hertz))
    for number, amplitude in enumerate(np.asarray(amplitudes, dtype=float), 1):
        total += amplitude * np.sin(number * phase) * (number * hertz < 7000)
    return total


def decays(num_samples: int, starts: Signal, seconds: float, attack: float = 0.002) -> Signal:
    """(S,) envelope of strokes: each rises in ``attack`` and decays by 1 / e in ``seconds``."""
    envelope = np.zeros(num_samples)
    for start in starts:
        time = np.maximum(times(num_samples) - start, 0)
        envelope = np.maximum(envelope, np.minimum(time / attack, 1) * np.exp(-time / seconds))
    return envelope


def beats(num_samples: int, random: Random, mean_gap: float, spread: float) -> Signal:
    """Times in seconds of strokes, ``mean_gap`` apart on average, from an early one on."""
    gaps = mean_gap * random.uniform(
        1 - spread, 1 + spread, 2 + int(num_samples / SAMPLE_RATE / mean_gap / (1 - spread))
    )
    return np.cumsum(gaps) - 0.8 * gaps[0]


def hum(num_samples: int, random: Random) -> Signal:
    """Mains hum of 50 or 60 Hz with its harmonics."""
    mains = float(random.choice([50.0, 60.0]))
    amplitudes = random.uniform(0.05, 1, 12) / np.arange(1, 13)
    return harmonics(np.full(num_samples, mains), amplitudes) + 0.01 * random.standard_normal(num_samples)


def fan(num_samples: int, random: Random) -> Signal:
    """Air noise, and the tones of a wheel whose speed wavers."""
    wheel = random.uniform(60, 240) * (1 + 0.01 * np.sin(2 * np.pi * random.uniform(0.2, 1.5) * times(num_samples)))
    air = band(num_samples, random, 40, 6000, slope_db=-4)
    return air / air.std() + random.uniform(0.1, 0.8) * harmonics(wheel, [1, 0.6, 0.3, 0.2])


def clicks(num_samples: int, random: Random) -> Signal:
    """Single clicks of a few milliseconds."""
    strokes = decays(num_samples, beats(num_samples, random, 0.5, 0.8), random.uniform(0.0005, 0.003), 0.0002)
    return strokes * band(num_samples, random, 500, 7500)


def typing(num_samples: int, random: Random) -> Signal:
    """A keyboard: short strokes, many of them double."""
    starts = beats(num_samples, random, 0.16, 0.6)
    strokes = decays(num_samples, np.concatenate([starts, starts + 0.06]), random.uniform(0.004, 0.012), 0.0005)
    return strokes * band(num_samples, random, 300, 6000)


def knocks(num_samples: int, random: Random) -> Signal:
    """Knocks on wood, or steps."""
    strokes = decays(num_samples, beats(num_samples, random, random.uniform(0.2, 0.6), 0.3), random.uniform(0.02, 0.06))
    body = harmonics(np.full(num_samples, random.uniform(90, 300)), [1, 0.2, 0.4])
    return strokes * (body + 2 * band(num_samples, random, 100, 1500))


def cough(num_samples: int, random: Random) -> Signal:
    """Coughs: a burst, a noisy middle, and a short voiced end in two of three."""
    total = np.zeros(num_samples)
    for start in beats(num_samples, random, 0.7, 0.4):
        burst = decays(num_samples, np.array([start]), random.uniform(0.05, 0.1), 0.004)
        rough = band(num_samples, random, 200, 5000, slope_db=-3)
        total += burst * rough / rough.std()
        if random.uniform() < 2 / 3:
            voiced = decays(num_samples, np.array([start + 0.12]), 0.05, 0.02)
            pitch = np.full(num_samples, random.uniform(120, 280)) * (1 + 0.05 * random.standard_normal())
            total += 0.3 * voiced * harmonics(pitch, 1 / np.arange(1, 12))
    return total


def breath(num_samples: int, random: Random) -> Signal:
    """Breathing in and out, near the microphone."""
    rate = random.uniform(0.25, 0.8)
    envelope = np.abs(np.sin(np.pi * rate * times(num_samples) + random.uniform(0, 1))) ** 2
    return envelope * band(num_samples, random, random.uniform(150, 500), random.uniform(2000, 5000), slope_db=-3)


def blowing(num_samples: int, random: Random) -> Signal:
    """Wind on the microphone: low noise in gusts."""
    gusts = np.abs(band(num_samples, random, 0.5, 4))
    return gusts / gusts.max() * band(num_samples, random, 20, 400, slope_db=-6)


def rain(num_samples: int, random: Random) -> Signal:
    """Water: high noise and drops."""
    drops = decays(num_samples, np.sort(random.uniform(0, num_samples / SAMPLE_RATE, 60)), 0.004, 0.0005)
    return band(num_samples, random, 800, 7500) * (0.3 + 3 * drops)


def melody(num_samples: int, random: Random) -> Signal:
    """One instrument that plays a tune."""
    return tune(num_samples, random, voices=1)


def chords(num_samples: int, random: Random) -> Signal:
    """Chords with a bass, and a drum."""
    drum = decays(num_samples, beats(num_samples, random, 0.5, 0.02), 0.05) * band(num_samples, random, 60, 7000)
    return tune(num_samples, random, voices=3) + 2 * drum


def tune(num_samples: int, random: Random, voices: int) -> Signal:
    """Notes of the tempered scale, struck or bowed, of ``voices`` parts."""
    length, is_bowed = random.uniform(0.15, 0.6), random.uniform() < 0.5
    number = np.minimum((times(num_samples) / length).astype(int), 400)
    total = np.zeros(num_samples)
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    for voice in range(voices):
        notes = random.choice(scale, 401) + random.choice([-12, 0, 12]) + 4 * voice
        hertz = (
            261.63 * 2 ** (notes[number] / 12) * (1 + is_bowed * 0.006 * np.sin(2 * np.pi * 5.5 * times(num_samples)))
        )
        within = (times(num_samples) / length) % 1
        envelope = np.sin(np.pi * within) ** 0.5 if is_bowed else np.minimum(within * 60, 1) * np.exp(-4 * within)
        total += envelope * harmonics(hertz, 1 / np.arange(1, 9) ** random.uniform(0.8, 2))
    return total


def beeps(num_samples: int, random: Random) -> Signal:
    """Tones of an appliance, or of a telephone."""
    period = random.uniform(0.3, 1.0)
    is_on = (times(num_samples) % period) < 0.5 * period
    low, high = random.uniform(400, 1200), random.uniform(1200, 2500)
    return is_on * (np.sin(2 * np.pi * low * times(num_samples)) + np.sin(2 * np.pi * high * times(num_samples)))


def siren(num_samples: int, random: Random) -> Signal:
    """A siren, or a motor that speeds up and slows down."""
    swing = np.sin(2 * np.pi * random.uniform(0.2, 1.5) * times(num_samples))
    return harmonics(random.uniform(200, 700) * 2 ** (0.5 * swing), [1, 0.5, 0.3, 0.2])


BACKGROUNDS: dict[str, Callable[[int, Random], Signal]] = {
    "silence": lambda num_samples, random: np.zeros(num_samples),
    "white noise": lambda num_samples, random: random.standard_normal(num_samples),
    "pink noise": pink,
    "rumble": lambda num_samples, random: band(num_samples, random, 20, 8000, slope_db=-6),
    "hum": hum,
    "fan": fan,
    "wind": blowing,
    "rain": rain,
    "clicks": clicks,
    "typing": typing,
    "knocks": knocks,
    "cough": cough,
    "breath": breath,
    "melody": melody,
    "chords": chords,
    "beeps": beeps,
    "siren": siren,
}
