"""Matching of an answer's text against reference answers: the rules in use for spoken question answering.

  contiguous  an alias's tokens occur in the answer side by side (DPR's has_answer, as UltraEval-Audio applies it)
  contains    every word of an alias is part of the answer, as a substring; else again with number words as digits
              (VITA-Audio's compute-acc-of-contain)

The paper's own rule is not published; ``contiguous`` is the headline.
"""

from __future__ import annotations

import string
import unicodedata

import regex

from evaluation.sets.item import EvaluationItem

from .measure import ItemScore, Measure
from .number_words import digits_of
from .rule import Answered, Rule

TOKEN = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")
PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation.replace("'", ""), " "))
EMPTY = "empty answer"


def match_tokens(text: str) -> list[str]:
    """The tokens that `contiguous` compares: letters, digits and marks together, every other sign alone; lower case."""
    return [token.lower() for token in TOKEN.findall(unicodedata.normalize("NFD", text))]


def contiguous(item: EvaluationItem, answered: Answered) -> ItemScore:
    """1 where the tokens of any reference stand side by side in the answer."""
    said = match_tokens(answered.text)
    hit = next((one for one in item.references if _is_within(match_tokens(one), said)), None)
    return _right(hit, answered.text)


def contains(item: EvaluationItem, answered: Answered) -> ItemScore:
    """1 where every word of any reference is a substring of the answer, as it stands or as digits."""
    said = answered.text.lower()
    for reference in item.references:
        words = reference.lower().translate(PUNCTUATION).split()
        if words and all(word in said for word in words):
            return _right(reference, answered.text)
        number = digits_of(reference)
        if number is not None and number in said:
            return _right(reference, answered.text)
    return _right(None, answered.text)


def _is_within(tokens: list[str], said: list[str]) -> bool:
    size = len(tokens)
    return bool(tokens) and any(said[start : start + size] == tokens for start in range(len(said) - size + 1))


def _right(hit: str | None, text: str) -> ItemScore:
    note = "" if text.strip() else EMPTY
    return ItemScore({"accuracy": Measure(float(hit is not None))}, note, {} if hit is None else {"matched": hit})


CONTIGUOUS = Rule(name="contiguous", score=contiguous, normaliser="NFD, lower case, Unicode words")
CONTAINS = Rule(name="contains", score=contains, normaliser="lower case, punctuation as spaces")
