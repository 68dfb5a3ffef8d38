"""Parallel synthesis of prompts to audio files: deterministic for each prompt, resumed when called again.

Each file is the engine's speech at 16 kHz with the silence at its ends trimmed, its peak at 0.8, and faint noise
instead of digital silence (which no recording contains). Utterances of users then pass the room simulation.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.audio.files import SAMPLE_RATE, Samples, resample, write_audio
from corpus.audio.room_simulation import RoomConfig, record_in_room
from runtime.artefact import remove_temporary_files
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
    """One text to synthesise (with punctuation), its voice, and the file to write."""

    id: str
    text: str
    voice: WorldVoice
    path: Path


def render(prompt: Prompt, seed: int) -> Samples:
    """Synthesise one prompt: (S,) float32 at 16 kHz. Depends on its id, text and voice and on ``seed`` only."""
    rng = np.random.default_rng(text_number(f"{seed} {prompt.id}"))
    pace, pitch = rng.uniform(-1, 1, 2)
    speech, sample_rate = prompt.voice.say(prompt.text, float(pace), float(pitch))
    audio = trim(resample(speech, sample_rate, SAMPLE_RATE))
    audio = audio * np.float32(PEAK / max(float(np.abs(audio).max(initial=0)), 1e-4))
    return audio + rng.standard_normal(len(audio), dtype=np.float32) * np.float32(DITHER)


def trim(audio: Samples) -> Samples:
    """Cut silence at both ends down to 60 ms."""
    frames = audio[: len(audio) // FRAME * FRAME].reshape(-1, FRAME)
    level = np.sqrt(np.square(frames, dtype=np.float64).mean(axis=1))
    loud = np.flatnonzero(level > level.max(initial=0) * 10 ** (SILENCE_DECIBEL / 20))
    if not len(loud):
        return audio
    return audio[max(0, loud[0] - KEPT_SILENCE) * FRAME : (loud[-1] + 1 + KEPT_SILENCE) * FRAME]


def synthesise(
    prompts: Sequence[Prompt], folder: Path, *, room: RoomConfig, seed: int, workers: int, bar: Progress
) -> dict[str, float]:
    """Write every prompt's audio file.

    Args:
        prompts: to synthesise.
        folder: keeps finished units of work.
        room: room simulation for voices other than the answer voice.
        seed: of pace, pitch, faint noise and room.
        workers: processes; the result does not depend on their number.
        bar: updated by one a prompt.

    Returns:
        Seconds of audio for each prompt id.
    """
    synthesise_some = functools.partial(synthesise_chunk, room=room, seed=seed)
    durations = in_parallel(synthesise_some, prompts, folder, processes=workers, bar=bar)
    remove_temporary_files({prompt.path.parent for prompt in prompts})
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
