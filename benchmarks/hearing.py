"""Speed of the way of a clip to a language model that reads speech as vectors, relative to transformers, in one run.

    python -m benchmarks.hearing                          one CPU thread; clips of about 2.5 and 10 s
    python -m benchmarks.hearing whisper=folder           also a Whisper's encoder on them

Measured in seconds of audio per CPU-second, on sentences spoken by espeak-ng, FLAC in a tar that is read by byte offset
(what a data worker does):

  decode          bytes -> FLAC -> samples, checked
  log-mel         the tokenizer's front end, a clip at a time
  tar to log-mel  all that a data worker does: `lm.data.clip_batches.AudioReader`, the clips of a micro batch decoded
                  first and then turned into frames, as its collation does; the goal is 3,000
  transformers    WhisperFeatureExtractor, which pads each clip to 30 s
  Whisper         ours at the clip's length (layer ``pooled``) and its ratio to transformers' at 30 s; of a folder only

On a busy machine the CPU-seconds of a single run vary: parts take turns in each round, and each figure is the best.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from corpus.audio.archives import ClipPlace, write_archive
from corpus.audio.files import SAMPLE_RATE, Samples, open_audio, resample, to_mono
from corpus.audio.frame_rate import FrameRate
from corpus.audio.mel_config import LogMelConfig
from corpus.world.espeak import speak
from lm.data.clip_batches import AudioReader
from lm.data.clips import AUDIO_SPAN, ClipRecord, ClipTable
from lm.data.shards import CorpusShard, SplitCounts
from runtime.command import Command
from runtime.config import Options, option
from tokenizer.hearing.load import load_encoder
from tokenizer.hearing.tokenizer_encoder import TokenizerFrontEnd

from .tokenizer import cpu_name

GOAL = 3000.0
MICRO_BATCH = 16  # clips
SENTENCE = "the green lamp stands in an old school where red cats sleep and two children read of ships"
VOICES = ("en-us+m1", "en-us+f2", "en-us+m3", "en-us+f4")


@dataclass(kw_only=True)
class HearingSpeedConfig(Options):
    """Options of ``benchmarks.hearing``.

    Attributes:
        clips: of each length.
        words: of a clip, one length each.
        rounds: of all parts in turn.
        whisper: folder of transformers' Whisper; empty: leave it out.
        out: a JSON file for all figures; empty: none.
    """

    clips: int = option(60, at_least=1)
    words: list[int] = option([6, 27], at_least=1)
    rounds: int = option(5, at_least=1)
    whisper: str = ""
    out: str = ""


def run(options: HearingSpeedConfig) -> None:
    """Measure, print a line for each length of clips."""
    torch.set_num_threads(1)
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"{cpu_name()}, 1 thread, load {load:.1f} on {cores} cores; torch {torch.__version__}")
    print("seconds of audio per CPU-second\n")
    figures = [row(words, options) for words in options.words]
    if options.out:
        Path(options.out).write_text(json.dumps(figures, indent=2) + "\n")


def row(words: int, options: HearingSpeedConfig) -> dict[str, Any]:
    """Print the figures of clips of one length, and return them."""
    random = np.random.default_rng(words)
    with tempfile.TemporaryDirectory() as folder:
        tar = Path(folder) / "clips.tar"
        with write_archive(tar) as archive:
            places = [archive.add(str(number), spoken(words, random)) for number in range(options.clips)]
        front_end = TokenizerFrontEnd(LogMelConfig(), FrameRate())
        with tar.open("rb") as file:
            clips = [read(file, place) for place in places]
            seconds = sum(map(len, clips)) / SAMPLE_RATE
            parts: dict[str, Callable[[], Any]] = {
                "decode": lambda: [read(file, place) for place in places],
                "log-mel": lambda: [front_end.mel(clip) for clip in clips],
                "tar to log-mel": data_worker(tar, places, clips, front_end),
                "transformers": feature_extractor(clips),
            }
            if options.whisper:
                parts |= whisper(options.whisper, clips)
            speeds = {name: seconds / cost for name, cost in best(parts, options.rounds).items()}
    print(f"clips of {seconds / len(clips):.1f} s: " + ", ".join(f"{name} {x:,.0f}" for name, x in speeds.items()))
    ratio, share = speeds["log-mel"] / speeds["transformers"], speeds["tar to log-mel"] / GOAL
    whole = speeds["tar to log-mel"] * (1 / speeds["decode"] + 1 / speeds["transformers"])
    print(f"  log-mel {ratio:.1f} x transformers', with decoding {whole:.1f} x", flush=True)
    print(f"  tar to log-mel {share:.2f} x the goal of {GOAL:,.0f}", flush=True)
    return {"seconds": seconds / len(clips)} | speeds


def data_worker(
    tar: Path, places: Sequence[ClipPlace], clips: Sequence[Samples], front_end: TokenizerFrontEnd
) -> Callable[[], Any]:
    """Reading of a corpus's clips, each by its reference, into frames, a micro batch at a time."""
    record = ClipRecord(kind="audio", encoder="", positions_per_second=12.5, width=1, shards=(str(tar),))
    np.save(tar.parent / "train.starts.npy", np.arange(len(places) + 1))
    np.save(tar.parent / "train.spans.npy", np.array([(0, *place) for place in places], dtype=AUDIO_SPAN))
    counts = SplitCounts(documents=len(places), text_tokens=0, speech_tokens=0, longest=0)
    table = ClipTable(tar.parent, "train", record, [CorpusShard(name="train", counts=counts)])
    reader = AudioReader(table, front_end)
    ids = [np.zeros(front_end.num_positions(len(clip)), dtype=np.int32) for clip in clips]

    def collate() -> None:
        for begin in range(0, len(ids), MICRO_BATCH):
            numbers = range(begin, min(begin + MICRO_BATCH, len(ids)))
            fetched = [reader.fetch(number, 0, ids[number]) for number in numbers]
            for one in fetched:
                reader.frames(one)

    return collate


def spoken(words: int, random: np.random.Generator) -> Samples:
    """A clip (S,) of random words."""
    samples, rate = speak(" ".join(random.choice(SENTENCE.split(), words)), str(random.choice(VOICES)))
    return resample(samples, rate, SAMPLE_RATE)


def read(file: io.BufferedReader, place: ClipPlace) -> Samples:
    """A clip of a tar (S,)."""
    file.seek(place.offset)
    with open_audio(io.BytesIO(file.read(place.bytes)), "clip") as audio:
        return to_mono(audio.read(), audio.rate, "clip", SAMPLE_RATE)


def feature_extractor(clips: list[Samples]) -> Callable[[], Any]:
    """transformers' log-mel of the clips, each padded to 30 s."""
    from transformers import WhisperFeatureExtractor

    extract = WhisperFeatureExtractor()
    return lambda: [extract(clip, sampling_rate=SAMPLE_RATE, return_tensors="pt") for clip in clips]


def whisper(folder: str, clips: list[Samples]) -> dict[str, Callable[[], Any]]:
    """Encoding of a few clips, ours and transformers', repeated so that both count as all clips."""
    from transformers import WhisperModel

    encoder, theirs = load_encoder(folder, "pooled"), WhisperModel.from_pretrained(folder).encoder.eval()
    frames = torch.zeros(1, encoder.front_end.frame_width, 2 * theirs.config.max_source_positions)

    def padded() -> None:
        with torch.inference_mode():
            for _ in clips:
                theirs(frames)

    return {"Whisper": lambda: encoder.encode(clips), "Whisper at 30 s": padded}


def best(parts: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The least CPU-seconds of each part; a first round warms up."""
    costs: dict[str, float] = {}
    for number in range(rounds + 1):
        for name, part in parts.items():
            started = time.process_time()
            part()
            cost = time.process_time() - started
            if number:
                costs[name] = min(cost, costs.get(name, cost))
    return costs


COMMAND = Command(
    name="benchmarks.hearing",
    words="",
    config=HearingSpeedConfig,
    run=run,
    summary="Speed from tars of clips to an encoder's frames and vectors, relative to transformers.",
    example="python -m benchmarks.hearing clips=60",
)

if __name__ == "__main__":
    COMMAND.exit()
