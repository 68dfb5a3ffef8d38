"""Agreement of speech with text: word errors between the transcript of a spoken reply and the written one (ASR-WER).

English by the Whisper normaliser, Chinese by character. The mean over a set is micro (errors by words); the mean of
the items' rates (URO-Bench's) is printed as ``mean of items``.
"""

from __future__ import annotations

import functools
from typing import Any

from rapidfuzz.distance import Levenshtein

from corpus.text.word_errors import character_errors, is_unspaced
from evaluation.sets.item import EvaluationItem
from runtime.errors import UserError

from .measure import ItemScore, Measure
from .rule import Answered, Rule

NOT_WRITTEN, NO_WORDS = "no written reply", "no word in the written reply"


def score(item: EvaluationItem, answered: Answered) -> ItemScore:
    """Word errors by words of the written reply; character errors where it is Chinese or the like."""
    if not answered.written.strip():
        return ItemScore({}, NOT_WRITTEN)
    if is_unspaced([answered.written]):
        found = character_errors(answered.written, answered.text)
        return ItemScore({"cer": Measure(found.errors, found.characters)})
    written, spoken = (whisper_words(text) for text in (answered.written, answered.text))
    if not any(map(str.isalnum, " ".join(written))):
        return ItemScore({}, NO_WORDS)
    return ItemScore({"wer": Measure(Levenshtein.distance(written, spoken), len(written))})


def whisper_words(text: str) -> list[str]:
    """The words of an English text in the normal form of the Whisper paper (2212.04356, appendix C).

    Raises:
        UserError: whisper-normalizer is not installed.
    """
    return str(_normaliser()(text)).split()


@functools.cache
def _normaliser() -> Any:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        remedy = "pip install 'speechweave[evaluation]'"
        raise UserError("word errors", found="whisper-normalizer is not installed", remedy=remedy) from error
    return EnglishTextNormalizer()


SPOKEN_AGREEMENT = Rule(
    name="asr_wer",
    score=score,
    headline="wer",
    media=("speech",),
    normaliser="Whisper's English normaliser; Chinese by character, NFKC",
)
