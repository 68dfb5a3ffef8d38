"""Correctness of an answer: whether a reply ends in the answer key."""

from __future__ import annotations

from collections.abc import Iterable

from corpus.text.spoken_words import spoken_words


def is_right(reply: str, answer: str) -> bool:
    """Whether a reply ends in the answer key, word for word, in normal form ("It is Paris." for "paris")."""
    key = spoken_words(answer).split()
    assert key, "an answer key has at least one word"
    return spoken_words(reply).split()[-len(key) :] == key


def share(truths: Iterable[bool]) -> float:
    """The share that is true."""
    values = list(truths)
    return sum(values) / max(len(values), 1)
