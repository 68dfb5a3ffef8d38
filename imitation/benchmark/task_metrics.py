"""Scores of an answer against a reference by the metric of its task, each from 0 to 1, where 1 is best.

| metric | score |
|---|---|
| accuracy | 1 for the same words, else 0 |
| wer | 1 less the word error rate, 0 from one error a word on (character errors in scripts without spaces) |
| chrf | sentence chrF (Popovic 2015) by sacrebleu, its defaults (character 6-grams, beta 2) |
| rouge_l | ROUGE-L's F-measure over words (Lin 2004) |

Words are compared without case and punctuation. Ratings by a judge: `imitation.benchmark.judging`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rapidfuzz.distance import LCSseq
from sacrebleu.metrics.chrf import CHRF

from corpus.text.normalisation import normalise
from corpus.text.word_errors import character_errors, is_unspaced, word_errors
from imitation.tasks.task_file import Metric

CHRF_SCORER = CHRF()


def accuracy(reference: str, answer: str) -> float:
    """Whether the words are the same."""
    return float(words(reference) == words(answer))


def one_less_word_errors(reference: str, answer: str) -> float:
    """1 less the error rate."""
    if is_unspaced([reference]):
        characters = character_errors(reference, answer)
        errors, size = characters.errors, characters.characters
    else:
        found = word_errors(reference, answer)
        errors, size = found.errors, found.words
    return max(0.0, 1 - errors / size) if size else float(not errors)


def sentence_chrf(reference: str, answer: str) -> float:
    """Sentence chrF."""
    return float(CHRF_SCORER.sentence_score(answer, [reference]).score) / 100


def rouge_l(reference: str, answer: str) -> float:
    """F-measure of the longest common subsequence of words."""
    wanted, given = words(reference), words(answer)
    common = LCSseq.similarity(wanted, given)
    return 2 * common / (len(wanted) + len(given)) if wanted or given else 1.0


def words(text: str) -> list[str]:
    """Words in normal form; characters of scripts without spaces."""
    normal = normalise(text)
    return list(normal.replace(" ", "")) if is_unspaced([normal]) else normal.split()


TASK_METRICS: Mapping[Metric, Callable[[str, str], float]] = {
    "accuracy": accuracy,
    "wer": one_less_word_errors,
    "chrf": sentence_chrf,
    "rouge_l": rouge_l,
}
