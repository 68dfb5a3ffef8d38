"""Resynthesis of tokenised utterances: tokens -> audio files and a manifest."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from corpus.audio.files import write_audio
from corpus.manifest import Utterance, write_manifest
from corpus.tokens import TokenisedUtterance, read_tokens
from runtime.artefact import artefact_folder
from runtime.errors import UserError
from runtime.journal import Journal
from runtime.stage import Run

from .config import VOCODERS
from .model import SpeechDecoder
from .resynthesis_config import ResynthesiseConfig
from .vocoder import Vocoder

SPEED = "speed.jsonl"  # what each batch took


class SpokenTokens(NamedTuple):
    """Utterances that were spoken, seconds of their tokens, and the real-time factors of the decoder."""

    utterances: int
    seconds: float
    speed: Mapping[str, float]


def resynthesise(config: ResynthesiseConfig, run: Run) -> dict[str, Any]:
    """Decode all chosen utterances; returns their number, seconds of audio and the real-time factors."""
    made = speak_tokens(config, run)
    return {"utterances": made.utterances, "seconds_of_audio": made.seconds, **made.speed}


def speak_tokens(config: ResynthesiseConfig, run: Run) -> SpokenTokens:
    """Decode all chosen utterances into audio files and a manifest in ``config.out``."""
    torch.set_num_threads(config.threads)
    decoder = SpeechDecoder.from_pretrained(artefact_folder(config.decoder))
    vocoder = config.vocoder
    if vocoder not in VOCODERS:
        decoder.change_vocoder(Vocoder.from_pretrained(artefact_folder(vocoder)), vocoder)
        vocoder = "model"
    speech = read_tokens(config.tokens)
    if speech.tokenizer != decoder.tokenizer:
        found = f"made by tokenizer {speech.tokenizer}, but the decoder was trained on tokenizer {decoder.tokenizer}"
        raise UserError(config.tokens, found=found, remedy="encode again, or train the decoder on these tokens")
    items = choose_utterances(config, speech.items, decoder)
    audio_files = {item.id: Path(config.out) / "audio" / f"{item.id.replace('/', '_')}.flac" for item in items}
    batches = by_length(items, config.batch)
    with Journal(run.folder / SPEED) as journal, run.progress(len(items), "resynthesis", unit="utterance") as bar:
        for batch in batches:
            if not all(audio_files[item.id].exists() for item in batch):
                started, started_cpu = time.perf_counter(), time.process_time()
                speakers = [config.speaker or item.speaker for item in batch]
                audios = decoder.decode_batch(
                    [item.tokens for item in batch],
                    speakers,
                    steps=config.steps,
                    guidance=config.guidance,
                    solver=config.solver,
                    vocoder=vocoder,
                )
                spent, spent_cpu = time.perf_counter() - started, time.process_time() - started_cpu
                made = sum(map(len, audios)) / decoder.sample_rate
                for item, audio in zip(batch, audios, strict=True):
                    write_audio(audio_files[item.id], audio, decoder.sample_rate)
                journal.append({"seconds": spent, "cpu_seconds": spent_cpu, "audio": made})
            bar.update(len(batch))
        speed = real_time_factors(journal.records)
    seconds = [len(item.tokens) / speech.frame_rate for item in items]
    write_manifest(
        Path(config.out) / "manifest.jsonl",
        [
            Utterance(
                item.id, audio_files[item.id], length, item.text, config.speaker or item.speaker, item.lang, item.kind
            )
            for item, length in zip(items, seconds, strict=True)
        ],
    )
    return SpokenTokens(len(items), round(sum(seconds), 2), speed)


def real_time_factors(batches: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """``rtf`` and ``cpu_rtf``: seconds of the clock and of the CPU for a second of audio, loading and writing apart."""
    audio = math.fsum(batch["audio"] for batch in batches)
    if not audio:
        return {}
    spent = {name: math.fsum(batch[name] for batch in batches) / audio for name in ("seconds", "cpu_seconds")}
    return {"rtf": round(spent["seconds"], 5), "cpu_rtf": round(spent["cpu_seconds"], 5)}


def choose_utterances(
    config: ResynthesiseConfig, items: list[TokenisedUtterance], decoder: SpeechDecoder
) -> list[TokenisedUtterance]:
    """The chosen utterances, checked."""
    if config.speaker is not None:
        decoder.voices([config.speaker])
    voices = set(config.voices)
    if not voices and config.speaker is None:
        voices = set(decoder.speakers)
    chosen = [item for item in items if not voices or item.speaker in voices]
    chosen = chosen[: config.limit or None]
    if not chosen:
        known = ", ".join(sorted({item.speaker for item in items}))
        found = f"no utterance of the voices {', '.join(sorted(voices))}"
        raise UserError(config.tokens, found=found, remedy=f"name a speaker= to speak with; the voices are: {known}")
    for item in chosen:
        decoder.check_tokens(item.tokens, f"utterance {item.id}")
        if config.speaker is None:
            decoder.speaker_row(item.speaker)
    return chosen


def by_length(items: list[TokenisedUtterance], batch: int) -> list[list[TokenisedUtterance]]:
    """Batches of utterances of about the same length, which wastes little on padding."""
    ordered = sorted(items, key=lambda item: (len(item.tokens), item.id))
    return [ordered[start : start + batch] for start in range(0, len(ordered), batch)]
