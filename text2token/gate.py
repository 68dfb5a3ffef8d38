"""The quality gate: checks of generated speech tokens against the length of their text.

A language model of speech fails in three ways: it does not stop, it stops too early, or it repeats itself. All three
show in the tokens, without a recogniser: in their number for the length of the text, and in the share of distinct
trigrams. A span whose tokens fail the gate stays text.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import regex

from corpus.audio.files import SAMPLE_RATE, Samples
from corpus.audio.frame_rate import SAMPLES_PER_TOKEN
from corpus.text.words import IDEOGRAPHS
from runtime.config import Options, option
from runtime.errors import check_option

SPOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]")  # marks are the vowels of Hindi, Thai and Tamil
IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
SILENCE = 1e-3  # largest sample of audio that holds no speech
LETTERS_OF_AN_IDEOGRAPH = 4  # its speech is about as long as that of four Latin letters

GOOD = "good"
EMPTY, UNFINISHED, SHORT, LONG, REPETITIVE = "empty", "unfinished", "short", "long", "repetitive"
SILENT, TOO_LONG = "silent", "too_long"  # of audio: no sound; longer than clips may be
UNANSWERED = "unanswered"  # by a text-to-speech server
OVERSIZED = "oversized"  # the model's context has no room for it
MISREAD = "misread"  # the speech tokenizer reads other words in the tokens (`text2token.transcript_check`)


@dataclass(kw_only=True)
class GateConfig(Options):
    """Bounds on the speech tokens of a text.

    Speech of 12 to 18 letters a second at 12.5 tokens a second has 0.7 to 1.1 tokens a letter, and nearly all trigrams
    are distinct (0.92 and more in the built-in corpus); the defaults leave room around that.

    Attributes:
        min_per_letter: fewest tokens for each letter of the text.
        max_per_letter: most tokens for each letter of the text, besides the allowance.
        allowance: further tokens that any text may have, of silence.
        min_distinct_share: least share of distinct trigrams of tokens among all trigrams.
    """

    min_per_letter: float = option(0.4, at_least=0)
    max_per_letter: float = option(1.8, at_least=0)
    allowance: int = option(12, at_least=0)
    min_distinct_share: float = option(0.6, at_least=0, at_most=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        is_ordered = self.min_per_letter <= self.max_per_letter
        check_option(is_ordered, "gate.min_per_letter", self.min_per_letter, "give at most gate.max_per_letter")

    def max_tokens(self, text: str) -> int:
        """The most tokens that a text may have."""
        return math.ceil(self.max_per_letter * count_letters(text)) + self.allowance


@lru_cache(maxsize=1 << 14)  # a span's text is measured when its limit is set and when its tokens are judged
def count_letters(text: str) -> int:
    """Number of letters, vowel marks and digits of a text; an ideograph counts as `LETTERS_OF_AN_IDEOGRAPH`."""
    spoken = "".join(SPOKEN.findall(unicodedata.normalize("NFC", text)))
    return len(spoken) + (LETTERS_OF_AN_IDEOGRAPH - 1) * len(IDEOGRAPH.findall(spoken))


def judge(text: str, codes: npt.NDArray[np.uint16], is_finished: bool, config: GateConfig) -> str:
    """The gate's verdict on generated codes (T,): `GOOD`, or why they cannot be speech of the text.

    Args:
        text: as the model got it.
        codes: generated.
        is_finished: whether the model ended the speech by itself.
        config: the bounds.
    """
    if not len(codes):
        return EMPTY
    if not is_finished:
        return UNFINISHED
    if (verdict := judge_length(text, len(codes), config)) != GOOD:
        return verdict
    if distinct_share(codes) < config.min_distinct_share:
        return REPETITIVE
    return GOOD


def judge_length(text: str, num_tokens: float, config: GateConfig) -> str:
    """The gate's verdict on the length of speech, in tokens of 80 ms (of audio: 12.5 a second)."""
    if num_tokens < config.min_per_letter * count_letters(text):
        return SHORT
    return LONG if num_tokens > config.max_tokens(text) else GOOD


def judge_audio(text: str, audio: Samples, max_seconds: float, config: GateConfig) -> str:
    """The gate's verdict on (S,) samples at 16 kHz: `GOOD`, or why they cannot be speech of the text.

    Args:
        text: as it was spoken.
        audio: full scale 1.
        max_seconds: longest clip.
        config: the bounds.
    """
    if not len(audio):
        return EMPTY
    if float(np.abs(audio).max()) < SILENCE:
        return SILENT
    if len(audio) > max_seconds * SAMPLE_RATE:
        return TOO_LONG
    return judge_length(text, len(audio) / SAMPLES_PER_TOKEN, config)


def distinct_share(codes: npt.NDArray[np.uint16]) -> float:
    """Share of distinct trigrams among all trigrams of tokens; 1 where there are fewer than four."""
    if len(codes) < 6:
        return 1.0
    row = codes.tolist()  # faster than an array's distinct rows, as few as a span's are
    return len(set(zip(row, row[1:], row[2:], strict=False))) / (len(row) - 2)
