"""Prompts to audio files, in parallel: deterministic for each prompt, and what is finished is kept when called again.

Each file is what the engine said, with the silence at its ends trimmed, at 16 kHz, its peak at 0.8, and with faint
noise instead of digital silence (the logarithm of which no recording has); what users say is then recorded in a room.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples, resample, write_audio
from corpus.audio.room_simulation import RoomConfig, record_in_room
from runtime.bulk.parallel_map import in_parallel
from runtime.hashing import text_number
from runtime.progress import Progress

from .voices import ANSWER, WorldVoice

PEAK = 0.8
DITHER = 4e-5  # standard deviation: a little more than one step of 16 bit
FRAME = SAMPLE_RATE // 100
SILENCE_DECIBEL = -45.0  # below the loudest 10 ms
KEPT_SILENCE = 6  # frames of 10 ms


@dataclass(frozen=True)
class Prompt:
    """What is to be said (with punctuation), by whom, and into which file."""

    id: str
    text: str
    voice: WorldVoice
    path: Path


def render(prompt: Prompt, seed: int) -> Samples:
    """Say one prompt: (S,) float32 at 16 kHz. Depends on the prompt's id, text and voice and on ``seed`` only."""
    rng = np.random.default_rng(text_number(f"{seed} {prompt.id}"))
    pace, tune = rng.uniform(-1, 1, 2)
    said, sample_rate = prompt.voice.say(prompt.text, float(pace), float(tune))
    audio = trim(resample(said, sample_rate, SAMPLE_RATE))
    audio = audio * np.float32(PEAK / max(float(np.abs(audio).max(initial=0)), 1e-4))
    return audio + rng.standard_normal(len(audio), dtype=np.float32) * np.float32(DITHER)


def trim(audio: Samples) -> Samples:
    """Cut silence at both ends down to 60 ms."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    level = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
    heard = np.flatnonzero(level > level.max(initial=0) * 10 ** (SILENCE_DECIBEL / 20))
    if not len(heard):
        return audio
    return audio[max(0, heard[0] - KEPT_SILENCE) * FRAME : (heard[-1] + 1 + KEPT_SILENCE) * FRAME]


def synthesise(
    prompts: Sequence[Prompt], folder: Path, *, room: RoomConfig, seed: int, workers: int, bar: Progress
) -> dict[str, float]:
    """Write every prompt's audio file.

    Args:
        prompts: what to say.
        folder: keeps what is done.
        room: how voices other than the answer voice are recorded.
        seed: of the small variations.
        workers: processes; the result does not depend on their number.
        bar: updated by one a prompt.

    Returns:
        Seconds of audio for each prompt id.
    """
    say = functools.partial(synthesise_chunk, room=room, seed=seed)
    durations = in_parallel(say, prompts, folder, processes=workers, bar=bar)
    remove_remnants({prompt.path.parent for prompt in prompts})
    return durations


def synthesise_chunk(prompts: Sequence[Prompt], *, room: RoomConfig, seed: int) -> dict[str, float]:
    """One unit of `synthesise`."""
    durations = {}
    for prompt in prompts:
        audio = render(prompt, seed)
        if prompt.voice.role != ANSWER:
            audio = record_in_room(audio, prompt.id, room, seed)
        write_audio(prompt.path, audio, is_durable=False)
        durations[prompt.id] = len(audio) / SAMPLE_RATE
    return durations


def remove_remnants(folders: Iterable[Path]) -> None:
    """Delete the temporary files that killed workers left in ``folders``."""
    for folder in folders:
        for remnant in folder.glob(".*"):
            remnant.unlink()
