"""The spoken set's files: rows and audio of closed requests under each condition, of open and of corrected ones."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.audio.files import SAMPLE_RATE, Samples, write_audio
from corpus.world.synthesis import Prompt, render
from evaluation.benchmarks.speech_instruct_bench import ADJUSTED, CLOSED, OPEN
from runtime.artefact import atomic_folder, write_text
from runtime.progress import Progress
from runtime.stage import Run

from .conditions import NOISES, disfluent, in_background, voice_under
from .config import InstructionSetConfig
from .requests import SpokenRequest, adjusted_requests, closed_requests, open_requests

BABBLE_SOURCES = 7  # requests that babble is made of


def make_instruction_set(config: InstructionSetConfig, run: Run) -> dict[str, Any]:
    """Compose and speak the requests, and write ``<out>/set``; returns their numbers."""
    closed = closed_requests(config.closed, config.seed)
    others = {
        OPEN: open_requests(config.open, config.seed),
        ADJUSTED: adjusted_requests(config.adjustment, config.seed),
    }
    total = len(closed) * len(config.conditions) + config.open + config.adjustment
    seconds = 0.0
    with atomic_folder(run.folder / "set") as folder, run.progress(total, "sounds", unit="sound") as bar:
        for condition in config.conditions:
            seconds += write_part(folder, f"{CLOSED}_{condition}", closed, condition, config, bar)
        for name, requests in others.items():
            if requests:
                seconds += write_part(folder, name, requests, "standard", config, bar)
    ids = {id_ for request in closed for id_ in request.columns["instruction_id_list"]}
    return {"items": total, "instructions": len(ids), "minutes": round(seconds / 60, 2)}


def write_part(
    folder: Path,
    name: str,
    requests: Sequence[SpokenRequest],
    condition: str,
    config: InstructionSetConfig,
    bar: Progress,
) -> float:
    """Write the rows of a file and their audio; returns the seconds of audio."""
    stem, task = f"{name}_{config.language}", name.partition("_")[0]
    sources = enumerate(requests[: BABBLE_SOURCES + 1]) if condition == "background" else ()
    babble = {number: speak(request.prompt, task, number, condition, config.seed) for number, request in sources}
    lines, seconds = [], 0.0
    for number, request in enumerate(requests):
        said = request.prompt
        if condition == "disfluency":
            said = disfluent(said, config.disfluency, random.Random(f"disfluency {config.seed} {number}"))
        audio = speak(said, task, number, condition, config.seed)
        voice, manner = voice_under(condition, number)
        if condition == "background":
            others = [sound for at, sound in babble.items() if at != number][:BABBLE_SOURCES]
            audio = in_background(audio, f"{stem} {number}", number, others, config.snr, config.seed)
            manner = f"{NOISES[number % len(NOISES)]} {config.snr:g} dB"
        path = f"audio/{stem}/{number:04d}.wav"
        write_audio(folder / path, audio, is_durable=False)
        row = {"key": number, "prompt": request.prompt, **request.columns, "audio_path": path}
        row |= {"spoken_text": said, "speaker": voice.name, "manner": manner}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
        seconds += len(audio) / SAMPLE_RATE
        bar.update()
    write_text(folder / f"{stem}.jsonl", "".join(lines))
    return seconds


def speak(text: str, task: str, number: int, condition: str, seed: int) -> Samples:
    """(S,) speech of a request under a condition, without its noise; all conditions have the same pace and pitch."""
    voice, _ = voice_under(condition, number)
    return render(Prompt(f"{task} {number}", text, voice, Path()), seed)
