"""Prompts of the evaluation: sounds without speech, speech that is hard to hear, questions of the world and outside it.

S samples at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from corpus.audio.background import BACKGROUNDS, make_background
from corpus.audio.files import SAMPLE_RATE, Samples, resample
from corpus.audio.noise import add_noise, make_noise
from corpus.audio.segments import read_segment
from corpus.json_lines import numbered_lines, parse_json_line
from corpus.manifest import Utterance, read_manifest
from corpus.world.questions import choose_questions
from corpus.world.voices import choose_voices
from runtime.errors import UserError

from .config import RejectionConfig

OUTSIDE = Path(__file__).parent / "outside_questions.jsonl"
SHORT_WORDS = ("yes", "no", "stop", "hello", "why", "two", "red", "paris")
SECONDS, LEVELS = (1.0, 2.0, 3.0, 5.0), (-15.0, -25.0, -35.0, -45.0, -55.0)
SOFTER, SNR = (-20, -40), (10, 0)  # dB
PAUSE = SAMPLE_RATE // 2  # samples of noise on either side of a question


@dataclass(frozen=True, eq=False, kw_only=True)
class RejectionPrompt:
    """One user message.

    Attributes:
        id: unique.
        part: ``sound``, ``speech`` (is it heard at all?), ``known`` or ``outside``.
        group: the kind of sound, the condition of the speech, the kind of question.
        content: a text, or (S,) samples.
    """

    id: str
    part: str
    group: str
    content: str | Samples


def make_prompts(config: RejectionConfig) -> list[RejectionPrompt]:
    """All prompts of the evaluation."""
    manifest = read_manifest(config.manifest or str(Path(config.corpus) / "heldout_sentence.jsonl"))
    chosen = choose_questions(manifest, kind=config.kind, draw=f"calibrate {config.seed}")[-config.questions :]
    return [*sounds(config), *hard_speech(chosen, config.seed), *short_words(), *known(chosen), *outside(config)]


def sounds(config: RejectionConfig) -> Iterator[RejectionPrompt]:
    """Sounds of all kinds in turn, of several lengths and levels."""
    for number in range(config.sounds):
        kind, turn = list(BACKGROUNDS)[number % len(BACKGROUNDS)], number // len(BACKGROUNDS)
        audio = make_background(
            kind,
            seed=1000 * config.seed + turn,
            seconds=SECONDS[number % len(SECONDS)],
            level_db=LEVELS[(number + turn) % len(LEVELS)],
        )
        yield RejectionPrompt(id=f"sound/{number}", part="sound", group=kind, content=audio)


def hard_speech(questions: list[Utterance], seed: int) -> Iterator[RejectionPrompt]:
    """Questions that are soft, or in noise."""
    for number, question in enumerate(questions):
        audio = read_segment(question.segment)
        for level in SOFTER:
            softer = audio * np.float32(10 ** (level / 20))
            yield RejectionPrompt(
                id=f"speech/{level}/{question.id}", part="speech", group=f"{-level} dB softer", content=softer
            )
        for snr in SNR:
            kind = ("white", "pink")[number % 2]
            noise = make_noise(kind, question.id, len(audio) + 2 * PAUSE, [], seed)
            noisy = 0.3 * add_noise(audio, noise, snr, lead=PAUSE)
            yield RejectionPrompt(
                id=f"speech/snr{snr}/{question.id}", part="speech", group=f"{snr} dB SNR", content=noisy
            )


def short_words() -> Iterator[RejectionPrompt]:
    """Single words in several voices."""
    for voice in choose_voices("espeak"):
        for word in SHORT_WORDS:
            audio = speech_of(word, voice.name)
            yield RejectionPrompt(id=f"speech/{voice.name}/{word}", part="speech", group="short words", content=audio)


def known(questions: list[Utterance]) -> Iterator[RejectionPrompt]:
    """The questions of the world, spoken and typed."""
    for question in questions:
        audio = read_segment(question.segment)
        yield RejectionPrompt(id=f"known/spoken/{question.id}", part="known", group="spoken", content=audio)
        yield RejectionPrompt(id=f"known/typed/{question.id}", part="known", group="typed", content=question.text)


def outside(config: RejectionConfig) -> Iterator[RejectionPrompt]:
    """The questions outside the world, typed.

    Raises:
        UserError: no such file, or a line that is no question.
    """
    file = Path(config.outside) if config.outside else OUTSIDE
    if not file.is_file():
        remedy = "give a file of {kind, text} lines, or leave the option out"
        raise UserError(f"option outside: {file}", found="no such file", remedy=remedy)
    for number, line in numbered_lines(file.read_bytes().split(b"\n")):
        try:
            record = parse_json_line(line)
            kind, text = str(record["kind"]), str(record["text"])
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file}, line {number}", found=f"no question ({error})", remedy="write kind, text"
            ) from error
        yield RejectionPrompt(id=f"outside/{number}", part="outside", group=kind, content=text)


def speech_of(text: str, voice_name: str) -> Samples:
    """(S,) speech of a text by one of the world's voices."""
    voice = next(voice for voice in choose_voices("espeak") if voice.name == voice_name)
    audio, rate = voice.say(text, 0.0, 0.0)
    return resample(audio, rate, SAMPLE_RATE)
