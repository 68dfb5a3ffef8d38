"""Repeating aloud (URO-Bench's Repeat): the share of answers that are right enough, times how right those are.

An item's word error rate (Chinese: character error rate) against its target; it is right enough up to 0.5. The score
of a set is the share of those times one less their mean rate.
"""

from __future__ import annotations

from collections.abc import Mapping

from rapidfuzz.distance import Levenshtein

from corpus.text.word_errors import character_errors, is_unspaced
from evaluation.sets.item import EvaluationItem

from .measure import ItemScore, MeanScore, Measure
from .rule import Answered, Rule
from .spoken_agreement import whisper_words

MOST_ERRORS = 0.5


def score(item: EvaluationItem, answered: Answered) -> ItemScore:
    """The error rate of an answer that is right enough, and whether it is."""
    target = item.references[0]
    if is_unspaced([target]):
        found = character_errors(target, answered.text)
        errors, size = found.errors, found.characters
    else:
        said = whisper_words(target)
        errors, size = Levenshtein.distance(said, whisper_words(answered.text)), len(said)
    if not size:
        return ItemScore({}, "no word in the target")
    rate = errors / size
    is_right = rate <= MOST_ERRORS
    measures = {"ok_rate": Measure(float(is_right))} | ({"rate_of_ok": Measure(rate)} if is_right else {})
    return ItemScore(measures, "" if answered.text.strip() else "empty answer", {"rate": round(rate, 6)})


def repetition_score(means: Mapping[str, MeanScore]) -> dict[str, float]:
    """The score of a set."""
    if "ok_rate" not in means:
        return {}
    rate = means["rate_of_ok"].micro if "rate_of_ok" in means else 0.0
    return {"score": means["ok_rate"].micro * (1 - rate)}


REPETITION = Rule(
    name="repeat",
    score=score,
    headline="ok_rate",
    combine=repetition_score,
    normaliser="Whisper's English normaliser; Chinese by character, NFKC",
)
